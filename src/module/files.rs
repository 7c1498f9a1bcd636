//! Files with secrets, read by the master at start and reload; that of a password also by a worker.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nginx_sys::{ngx_conf_full_name, ngx_int_t, ngx_str_t, NGX_OK};

use super::conf::{MainConf, Place};
use super::directives::Directive;
use super::pool;
use crate::config::ConfigError;
use crate::secret_file::complaints;
use crate::session::key::IdHash;

/// The content of a file and its name in full; a file that others may read or change is a warning.
pub(super) fn read_secret(d: &Directive, name: &str) -> Result<(Vec<u8>, String), ConfigError> {
    read(d, name, true)
}

fn read(d: &Directive, name: &str, is_secret: bool) -> Result<(Vec<u8>, String), ConfigError> {
    let path = full_name(d, name)?;
    let failed =
        |error: std::io::Error| ConfigError::new(format!("cannot read \"{path}\": {error}"));
    let content = fs::read(&path).map_err(failed)?;
    let metadata = fs::metadata(&path).map_err(failed)?;
    if metadata.is_file() {
        for complaint in complaints(is_secret, metadata.mode(), &modes_around(&path)) {
            d.warn(format_args!("\"{path}\" {complaint}"));
        }
    }
    Ok((content, path))
}

/// The modes of the directories of a file: that of its name, and that of what a link leads to.
fn modes_around(path: &str) -> Vec<u32> {
    let path = Path::new(path);
    let names = [Some(path.to_owned()), fs::canonicalize(path).ok()];
    let directories = names.iter().flatten().filter_map(|name| fs::metadata(name.parent()?).ok());
    directories.map(|directory| directory.mode()).collect()
}

/// The password in a file, and the file's name in full.
pub(super) fn read_password(d: &Directive, name: &str) -> Result<(Vec<u8>, String), ConfigError> {
    let (content, name) = read_secret(d, name)?;
    let Some(password) = password(&content) else {
        return Err(ConfigError::new(format!("\"{name}\" is empty")));
    };
    if password.contains(&b'\n') {
        return Err(ConfigError::new(format!("\"{name}\" has more than one line")));
    }
    Ok((password.to_vec(), name))
}

/// The full name of a file that nginx will read itself, if it can be read.
pub(super) fn readable(d: &Directive, name: &str) -> Result<String, ConfigError> {
    read(d, name, false).map(|(_, path)| path)
}

/// What a file with a password holds, without the line end; none where it is empty.
fn password(content: &[u8]) -> Option<&[u8]> {
    let password = content.strip_suffix(b"\n").unwrap_or(content);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    (!password.is_empty()).then_some(password)
}

/// Reads a password again.
pub(super) fn reread_password(path: &str) -> std::io::Result<Option<Vec<u8>>> {
    fs::read(path).map(|content| password(&content).map(<[u8]>::to_vec))
}

/// The name relative to the directory of nginx.conf, as nginx resolves its own file names.
fn full_name(d: &Directive, name: &str) -> Result<String, ConfigError> {
    let failed = || ConfigError::new("out of memory");
    // SAFETY: `cf` and its cycle are live; the string is a fresh copy in the pool.
    unsafe {
        let mut path: ngx_str_t =
            pool::copy((*d.cf).pool, &[name.as_bytes()]).ok_or_else(failed)?;
        if ngx_conf_full_name((*d.cf).cycle, &mut path, 1) != NGX_OK as ngx_int_t {
            return Err(failed());
        }
        Ok(path.to_string())
    }
}

/// Without a file, the key of `$session_redis_id_hash` is drawn once per start: the same in all workers.
pub(super) fn default_hash_key(main: &mut MainConf) -> Result<(), ConfigError> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut key))
        .map_err(|error| ConfigError::new(format!("cannot read \"/dev/urandom\": {error}")))?;
    // False where a file gave one.
    let _ = main.hash_key.set(IdHash::new(&key), Place::unknown());
    Ok(())
}
