# The rule for the library, which nginx's own rules link. Cargo is asked only where a source is newer, so that
# "make install" needs no Rust.

case $NGX_OBJS in
    /*) session_redis_build=$NGX_OBJS ;;
    *)  session_redis_build=$PWD/$NGX_OBJS ;;
esac

session_redis_sources=`find $ngx_addon_dir/src $ngx_addon_dir/auto $ngx_addon_dir/build.rs $ngx_addon_dir/Cargo.toml $ngx_addon_dir/Cargo.lock -type f`
session_redis_sources=`echo "" $session_redis_sources | sed -e "s/  *\([^ ][^ ]*\)/$ngx_regex_cont\1/g"`

cat << END                                                    >> $NGX_MAKEFILE

$session_redis_binary:	$session_redis_lib

$session_redis_lib:	$NGX_AUTO_CONFIG_H$session_redis_sources
	NGINX_BUILD_DIR=$session_redis_build NGINX_SOURCE_DIR=$PWD \\
	$session_redis_cargo rustc --quiet --locked --lib --crate-type staticlib --release \\
		--no-default-features --features nginx-build \\
		--manifest-path $ngx_addon_dir/Cargo.toml \\
		--target-dir $session_redis_target
	touch $session_redis_lib

END
