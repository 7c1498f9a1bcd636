//! Password files that the workers could not read again.

use core::ffi::{c_int, CStr};
use std::fs;
use std::os::unix::fs::MetadataExt;

use nginx_sys::{getgrouplist, gid_t, ngx_conf_t, ngx_core_conf_t, ngx_core_module};

use super::Finding;
use crate::module::conf::MainConf;

/// Whom nginx' workers run as.
struct User {
    name: String,
    id: u32,
    groups: Vec<gid_t>,
}

/// The password files that only the master may read.
pub(super) fn unreadable(cf: *mut ngx_conf_t, main: &MainConf) -> Vec<Finding> {
    let Some(user) = User::of_workers(cf) else { return Vec::new() };
    let files = main.stores.iter().flat_map(|store| {
        let of_sentinels = store.sentinels.as_ref().and_then(|it| it.password_file.as_deref());
        let own = store.password_file.as_deref();
        own.into_iter().chain(of_sentinels).map(move |path| (store, path))
    });
    files
        .filter(|(_, path)| !user.may_read(path))
        .map(|(store, path)| Finding {
            place: store.place.clone(),
            message: format!(
                "\"{path}\" is not readable by user \"{}\": it cannot be read again when rotated",
                user.name
            ),
        })
        .collect()
}

impl User {
    /// None where it is not known yet, since "user" stands behind http{} or nowhere, or is whoever starts nginx.
    fn of_workers(cf: *mut ngx_conf_t) -> Option<Self> {
        // SAFETY: `cf` and its cycle are live, and the core module has a structure of this type.
        unsafe {
            let conf = *(*(*cf).cycle).conf_ctx.add(ngx_core_module.index);
            let core = conf.cast::<ngx_core_conf_t>().as_ref()?;
            if core.username.is_null() || nginx_sys::geteuid() != 0 {
                return None;
            }
            let name = CStr::from_ptr(core.username);
            let mut groups = vec![0; 64];
            let mut count = groups.len() as c_int;
            getgrouplist(core.username, core.group, groups.as_mut_ptr(), &mut count);
            groups.truncate(usize::try_from(count).unwrap_or(0));
            groups.push(core.group);
            Some(Self { name: name.to_string_lossy().into_owned(), id: core.user, groups })
        }
    }

    /// By the mode of the file; that of its directories is not looked at.
    fn may_read(&self, path: &str) -> bool {
        let Ok(file) = fs::metadata(path) else { return true };
        let bit = match (file.uid() == self.id, self.groups.contains(&file.gid())) {
            (true, _) => 0o400,
            (_, true) => 0o040,
            _ => 0o004,
        };
        self.id == 0 || file.mode() & bit != 0
    }
}
