//! Forwards what nginx was configured with to the code, as `cfg`, and binds the nginx headers that
//! nginx-sys leaves out. Does nothing for the plain half.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values(any()))");
    println!("cargo::rustc-check-cfg=cfg(nginx_1_23)");
    #[cfg(feature = "module")]
    nginx::forward();
}

#[cfg(feature = "module")]
mod nginx {
    use std::env;

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
        // 1.23.0: request cookies became a linked list.
        if version.parse::<u64>().is_ok_and(|version| version >= 1_023_000) {
            println!("cargo::rustc-cfg=nginx_1_23");
        }
    }
}
