//! A string with variables (nginx's complex value), and a directive's value of any kind.

use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_conf_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value_t, ngx_int_t, NGX_OK,
};

use super::pool;
use super::request::Request;
use crate::config::ConfigError;
use crate::pointer::Pointer;
use crate::value::Expression;

/// A string with variables, compiled.
pub(super) struct Template(ngx_http_complex_value_t);

impl Template {
    /// Compiles `text`. Unknown variables are reported by nginx itself once parsing ends.
    pub(super) fn compile(cf: *mut ngx_conf_t, text: &str) -> Result<Self, ConfigError> {
        check_names(text)?;
        let failed = || ConfigError::new("out of memory");
        // SAFETY: all zeroes are valid for both structures; nginx's setters start them so.
        let (mut value, mut compile) = unsafe {
            let value: ngx_http_complex_value_t = core::mem::zeroed();
            let compile: ngx_http_compile_complex_value_t = core::mem::zeroed();
            (value, compile)
        };
        // SAFETY: `cf` is the live configuration of the directive being parsed.
        let mut text = unsafe { pool::copy((*cf).pool, &[text.as_bytes()]) }.ok_or_else(failed)?;

        compile.cf = cf;
        compile.value = ptr::from_mut(&mut text);
        compile.complex_value = ptr::from_mut(&mut value);
        // SAFETY: the string and all that nginx compiles live in the configuration's pool; the
        // pointers to our locals are used only during the call.
        let rc = unsafe { ngx_http_compile_complex_value(&mut compile) };
        (rc == NGX_OK as ngx_int_t).then_some(Self(value)).ok_or_else(failed)
    }

    /// The text for this request. None: out of memory.
    pub(super) fn evaluate<'a>(&self, r: Request) -> Option<&'a [u8]> {
        r.evaluate(&self.0)
    }
}

/// Refuses what nginx would, which names no directive.
fn check_names(text: &str) -> Result<(), ConfigError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for rest in text.split('$').skip(1) {
        let name = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').map_or("", |(name, _)| name),
            None => rest.split_once(|c| !word(c)).map_or(rest, |(name, _)| name),
        };
        if name.is_empty() || !name.chars().all(word) {
            return Err(ConfigError::new("invalid variable name")
                .hint("a variable is written $name or ${name}"));
        }
    }
    Ok(())
}

/// The indices of the variables in a complex value, by nginx's table.
pub(super) fn indices(value: &ngx_http_complex_value_t) -> impl Iterator<Item = usize> {
    let mut next = value.flushes.cast_const();
    core::iter::from_fn(move || {
        // SAFETY: `flushes` is null or an array that ends with -1, in the configuration's pool.
        let index = unsafe { *next.as_ref()? };
        if index == usize::MAX {
            return None;
        }
        next = next.wrapping_add(1);
        Some(index)
    })
}

/// A directive's value, ready for requests.
pub(super) enum Value {
    Pointer(Pointer),
    User,
    Text(String),
    Template(Rc<Template>),
}

impl Value {
    /// Parses and compiles a directive's argument.
    pub(super) fn compile(cf: *mut ngx_conf_t, text: &str) -> Result<Self, ConfigError> {
        Ok(match Expression::parse(text)? {
            Expression::Pointer(pointer) => Self::Pointer(pointer),
            Expression::User => Self::User,
            Expression::Text(text) => Self::Text(text),
            Expression::Template(text) => Self::Template(Rc::new(Template::compile(cf, &text)?)),
        })
    }
}
