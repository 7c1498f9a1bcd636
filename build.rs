//! Forwards what nginx was configured with to the code, as `cfg`, and binds what nginx-sys leaves out.
//! Does nothing for the plain half.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values(any()))");
    println!("cargo::rustc-check-cfg=cfg(nginx_1_23)");
    println!("cargo::rustc-check-cfg=cfg(nginx_1_27_3)");
    println!("cargo::rustc-check-cfg=cfg(nginx_private_known)");
    #[cfg(feature = "module")]
    {
        nginx::forward();
        nginx::bind();
    }
}

#[cfg(feature = "module")]
#[path = "auto/layout.rs"]
mod layout;

#[cfg(feature = "module")]
mod nginx {
    use std::env;
    use std::path::{Path, PathBuf};

    /// The releases in which the structures of `nginx_private.h` were looked at: 1.22.0 to 1.31.5.
    const PRIVATE_KNOWN: std::ops::RangeInclusive<u64> = 1_022_000..=1_031_005;

    const HEADER: &str = "src/module/nginx_private.h";

    /// `ngx_feature="…"` for each feature of the nginx that nginx-sys was built against, and a cfg
    /// for each version at which an interface that the module uses changed.
    pub(crate) fn forward() {
        for variable in ["DEP_NGINX_FEATURES", "DEP_NGINX_VERSION_NUMBER"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        for feature in env::var("DEP_NGINX_FEATURES").unwrap_or_default().split(',') {
            println!("cargo::rustc-cfg=ngx_feature=\"{}\"", feature.trim());
        }
        let version = env::var("DEP_NGINX_VERSION_NUMBER").unwrap_or_default();
        let version = version.parse::<u64>().unwrap_or(0);
        // 1.23.0: request cookies became a linked list.
        if version >= 1_023_000 {
            println!("cargo::rustc-cfg=nginx_1_23");
        }
        // 1.27.3: the servers of an upstream block may change while nginx runs.
        if version >= 1_027_003 {
            println!("cargo::rustc-cfg=nginx_1_27_3");
        }
        if PRIVATE_KNOWN.contains(&version) {
            println!("cargo::rustc-cfg=nginx_private_known");
        } else {
            println!(
                "cargo::warning=nginx of version number {version} is newer than this module knows: checks of \
                 the configuration that read other modules' settings are left out"
            );
        }
    }

    /// Writes `nginx_private.rs` to the output directory, as the header's structures lie in the nginx that
    /// nginx-sys was built against; and what the C compiler says of these and of nginx's own, see `layout`.
    pub(crate) fn bind() {
        println!("cargo::rerun-if-changed={HEADER}");
        println!("cargo::rerun-if-changed=auto/layout.rs");
        for variable in ["DEP_NGINX_INCLUDE", "DEP_NGINX_CFLAGS"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let out = PathBuf::from(
            env::var_os("OUT_DIR").expect("cargo gives a build script its directory"),
        );
        bindings("session_redis_.*")
            .raw_line("use nginx_sys::*;")
            .generate()
            .expect("nginx's headers are where nginx-sys found them")
            .write_to_file(out.join("nginx_private.rs"))
            .expect("it can be written");

        let all = bindings("(ngx|session_redis)_.*").generate();
        let all = all.expect("nginx's headers are where nginx-sys found them").to_string();
        let home = env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's directory");
        if let Err(error) =
            super::layout::write(&all, &Path::new(&home).join(HEADER), &out, compile)
        {
            println!("cargo::error=the C compiler does not say where fields of nginx's structures lie: {error}");
        }
    }

    /// What nginx itself is compiled with, as far as it changes structures.
    fn arguments() -> impl Iterator<Item = String> {
        let include = env::var("DEP_NGINX_INCLUDE").unwrap_or_default();
        let include: Vec<PathBuf> = env::split_paths(&include).collect();
        let defines = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
        let defines: Vec<String> = defines.split_whitespace().map(str::to_owned).collect();
        include.into_iter().map(|path| format!("-I{}", path.display())).chain(defines)
    }

    /// The types of these names. What they are made of is nginx-sys' own.
    fn bindings(types: &str) -> bindgen::Builder {
        bindgen::Builder::default()
            .header(HEADER)
            .clang_args(arguments())
            .allowlist_type(types)
            .allowlist_recursively(false)
            .formatter(bindgen::Formatter::Prettyplease)
            .layout_tests(false)
            .use_core()
    }

    /// The object file of a file of C, by the compiler that `CC` or cc's own rules name.
    fn compile(source: &Path) -> Result<Vec<PathBuf>, cc::Error> {
        let mut build = cc::Build::new();
        for argument in arguments() {
            build.flag(argument);
        }
        // An object file of code that is still to be optimised would hold no constants.
        build.flag_if_supported("-fno-lto").opt_level(0).debug(false).warnings(false);
        build.cargo_warnings(true).file(source).try_compile_intermediates()
    }
}
