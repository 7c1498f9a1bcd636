//! What other modules of nginx keep to themselves: found by name, read as `nginx_private.h` says.

#![allow(non_camel_case_types, missing_docs, unreachable_pub)]

use core::ffi::{c_void, CStr};

use nginx_sys::{ngx_conf_t, ngx_http_core_main_conf_t, ngx_http_variable_t, ngx_module_t};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};

include!(concat!(env!("OUT_DIR"), "/nginx_private.rs"));

/// The module of this name, compiled in or loaded.
pub(super) fn module(cf: *mut ngx_conf_t, name: &str) -> Option<&'static ngx_module_t> {
    // SAFETY: the cycle's modules are an array of live records that ends with null.
    unsafe {
        let mut next = (*(*cf).cycle).modules;
        while let Some(module) = (*next).as_ref() {
            if CStr::from_ptr(module.name).to_bytes() == name.as_bytes() {
                return Some(module);
            }
            next = next.add(1);
        }
    }
    None
}

/// Where in its structure a module's directive stores what is written.
pub(super) fn offset(module: &ngx_module_t, directive: &str) -> Option<usize> {
    let mut next = module.commands.cast_const();
    // SAFETY: the directives of a module are an array that ends with one without a name.
    while let Some(command) = unsafe { next.as_ref() }.filter(|command| command.name.len > 0) {
        if command.name.as_bytes() == directive.as_bytes() {
            return Some(command.offset);
        }
        next = next.wrapping_add(1);
    }
    None
}

/// The list that such a directive has filled. Empty where it was not written.
///
/// # Safety
/// `conf` must be a structure of that module, the directive fill an array of `T`.
pub(super) unsafe fn list<'a, T>(conf: *const c_void, offset: usize) -> &'a [T] {
    // SAFETY: the caller vouches for the place; nginx marks a setting that is not there by null or -1.
    unsafe {
        let array = *conf.byte_add(offset).cast::<*const nginx_sys::ngx_array_t>();
        match array.addr() {
            0 | usize::MAX => &[],
            _ if (*array).size != size_of::<T>() => &[],
            _ => (*array).as_slice(),
        }
    }
}

/// The name of a variable, by its index in nginx's table.
pub(super) fn variable(cf: *mut ngx_conf_t, index: usize) -> Option<String> {
    // SAFETY: `cf` is live; the table holds the variables that the configuration refers to.
    unsafe {
        let main: &ngx_http_core_main_conf_t = NgxHttpCoreModule::main_conf(&*cf)?;
        let variables = main.variables.as_slice::<ngx_http_variable_t>();
        variables.get(index).map(|variable| variable.name.to_string())
    }
}
