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
        nginx::bind_private();
    }
}

#[cfg(feature = "module")]
mod nginx {
    use std::env;
    use std::path::Path;

    /// The releases in which the structures of `nginx_private.h` were looked at: 1.22.0 to 1.31.4.
    const PRIVATE_KNOWN: std::ops::RangeInclusive<u64> = 1_022_000..=1_031_004;

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
        }
    }

    /// Writes `nginx_private.rs` to the output directory, as the header's structures lie in the nginx that
    /// nginx-sys was built against.
    pub(crate) fn bind_private() {
        println!("cargo::rerun-if-changed={HEADER}");
        for variable in ["DEP_NGINX_INCLUDE", "DEP_NGINX_CFLAGS"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let include = env::var("DEP_NGINX_INCLUDE").unwrap_or_default();
        let include = env::split_paths(&include).map(|path| format!("-I{}", path.display()));
        let defines = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
        let bindings = bindgen::Builder::default()
            .header(HEADER)
            .clang_args(include)
            .clang_args(defines.split_whitespace())
            .allowlist_type("session_redis_.*")
            // What the structures are made of is nginx-sys' own.
            .allowlist_recursively(false)
            .raw_line("use nginx_sys::*;")
            .layout_tests(false)
            .use_core()
            .generate()
            .expect("nginx's headers are where nginx-sys found them");
        let out = env::var("OUT_DIR").expect("cargo gives a build script its directory");
        bindings
            .write_to_file(Path::new(&out).join("nginx_private.rs"))
            .expect("it can be written");
    }
}
