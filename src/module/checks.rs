//! What can only be seen once the whole configuration is known.

use nginx_sys::{ngx_conf_t, ngx_int_t, NGX_OK};

/// All checks; refuses the configuration or warns.
pub(super) fn all(_cf: *mut ngx_conf_t) -> ngx_int_t {
    NGX_OK as ngx_int_t
}
