//! Files with secrets, read by the master at start and reload.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nginx_sys::{ngx_conf_full_name, ngx_int_t, ngx_str_t, NGX_OK};

use super::directives::Directive;
use super::pool;
use crate::config::ConfigError;

/// The content of a file and its name in full; a file that others may read is a warning.
pub(super) fn read_secret(d: &Directive, name: &str) -> Result<(Vec<u8>, String), ConfigError> {
    let path = full_name(d, name)?;
    let failed = |error: std::io::Error| ConfigError::new(format!("cannot read \"{path}\": {error}"));
    let metadata = fs::metadata(&path).map_err(failed)?;
    if metadata.mode() & 0o004 != 0 {
        d.warn(format_args!("\"{path}\" is accessible to everyone, it should be to its owner only"));
    }
    Ok((fs::read(&path).map_err(failed)?, path.clone()))
}

/// The name relative to the directory of nginx.conf, as nginx resolves its own file names.
fn full_name(d: &Directive, name: &str) -> Result<String, ConfigError> {
    let failed = || ConfigError::new("out of memory");
    // SAFETY: `cf` and its cycle are live; the string is a fresh copy in the pool.
    unsafe {
        let mut path: ngx_str_t = pool::copy((*d.cf).pool, &[name.as_bytes()]).ok_or_else(failed)?;
        if ngx_conf_full_name((*d.cf).cycle, &mut path, 1) != NGX_OK as ngx_int_t {
            return Err(failed());
        }
        Ok(path.to_string())
    }
}
