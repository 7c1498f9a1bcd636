//! Whether a location's "return" answers every request.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_http_script_code_pt, ngx_http_script_complex_value_code,
    ngx_http_script_complex_value_code_t, ngx_http_script_copy_capture_code,
    ngx_http_script_copy_capture_code_t, ngx_http_script_copy_code, ngx_http_script_copy_code_t,
    ngx_http_script_copy_var_code, ngx_http_script_engine_t, ngx_http_script_equal_code,
    ngx_http_script_file_code, ngx_http_script_file_code_t, ngx_http_script_if_code,
    ngx_http_script_if_code_t, ngx_http_script_not_equal_code, ngx_http_script_regex_code_t,
    ngx_http_script_regex_start_code, ngx_http_script_return_code, ngx_http_script_set_var_code,
    ngx_http_script_value_code, ngx_http_script_value_code_t, ngx_http_script_var_code,
    ngx_http_script_var_code_t, ngx_http_script_var_handler_code_t,
    ngx_http_script_var_set_handler_code,
};

use super::{private, Location};
use crate::module::bits::http_script_regex_code as regex_code;

/// Whether every request of the location ends with a "return" of its rewrite phase.
pub(super) fn returns(cf: *mut ngx_conf_t, location: &Location) -> bool {
    let conf =
        private::module(cf, "ngx_http_rewrite_module").and_then(|rewrite| location.conf(rewrite));
    // SAFETY: the first member of the module's structure is the array of its compiled directives.
    let codes = conf.and_then(|conf| unsafe { (*conf.cast::<*const ngx_array_t>()).as_ref() });
    codes.is_some_and(|codes| {
        // SAFETY: nginx compiled them, as an array of bytes.
        let way = unsafe { follow(codes.elts.cast_const().cast(), codes.nelts) };
        matches!(way, Way::Returns)
    })
}

/// How a piece of the program ends.
enum Way {
    Returns,
    Through,
    /// It may go on to the access phase: by "break", or by an instruction that we do not know.
    Leaves,
}

/// What comes next in the program.
enum Step {
    /// The next instruction, so many bytes on. What an "if" or a "rewrite" does only for some requests is
    /// passed over.
    Forward(usize),
    Return,
    /// The end, "break", or an instruction that we do not know.
    Stop,
}

/// # Safety
/// `codes` must be `length` bytes of a program of the rewrite module: instructions of various sizes one behind the
/// other.
unsafe fn follow(codes: *const u8, length: usize) -> Way {
    let mut at = 0;
    while at + size_of::<usize>() <= length {
        // SAFETY: an instruction begins here, whole as nginx wrote it.
        match unsafe { step(codes.add(at)) } {
            Step::Forward(0) | Step::Stop => return Way::Leaves,
            Step::Forward(bytes) => at += bytes,
            Step::Return => return Way::Returns,
        }
    }
    Way::Through
}

/// # Safety
/// `ip` must point to an instruction of a whole program.
unsafe fn step(ip: *const u8) -> Step {
    type Code = unsafe extern "C" fn(*mut ngx_http_script_engine_t);
    // SAFETY: each instruction begins with its function; which it is says what follows.
    let Some(code) = (unsafe { ip.cast::<ngx_http_script_code_pt>().read() }) else {
        return Step::Stop;
    };
    let is = |known: Code| ptr::eq(code as *const (), known as *const ());

    if is(ngx_http_script_return_code) {
        return Step::Return;
    }
    // SAFETY: as above.
    unsafe {
        if is(ngx_http_script_if_code) {
            // Its block stands between it and the next, and may hold a "break".
            let next = (*ip.cast::<ngx_http_script_if_code_t>()).next;
            let head = size_of::<ngx_http_script_if_code_t>();
            return match follow(ip.add(head), next.saturating_sub(head)) {
                Way::Leaves => Step::Stop,
                Way::Returns | Way::Through => Step::Forward(next),
            };
        }
        if is(ngx_http_script_regex_start_code) {
            let regex = &*ip.cast::<ngx_http_script_regex_code_t>();
            return match regex_code::TEST.get(regex) {
                0 if regex_code::BREAK_CYCLE.is_set(regex) => Step::Stop,
                0 => Step::Forward(regex.next),
                _ => Step::Forward(size_of::<ngx_http_script_regex_code_t>()),
            };
        }
        if is(ngx_http_script_copy_code) {
            let text = (*ip.cast::<ngx_http_script_copy_code_t>()).len;
            let text = text.next_multiple_of(size_of::<usize>());
            return Step::Forward(size_of::<ngx_http_script_copy_code_t>() + text);
        }
    }
    let sizes: [(Code, usize); 10] = [
        (ngx_http_script_value_code, size_of::<ngx_http_script_value_code_t>()),
        (ngx_http_script_complex_value_code, size_of::<ngx_http_script_complex_value_code_t>()),
        (ngx_http_script_copy_var_code, size_of::<ngx_http_script_var_code_t>()),
        (ngx_http_script_copy_capture_code, size_of::<ngx_http_script_copy_capture_code_t>()),
        (ngx_http_script_set_var_code, size_of::<ngx_http_script_var_code_t>()),
        (ngx_http_script_var_set_handler_code, size_of::<ngx_http_script_var_handler_code_t>()),
        (ngx_http_script_var_code, size_of::<ngx_http_script_var_code_t>()),
        (ngx_http_script_equal_code, size_of::<usize>()),
        (ngx_http_script_not_equal_code, size_of::<usize>()),
        (ngx_http_script_file_code, size_of::<ngx_http_script_file_code_t>()),
    ];
    if is_value_end(code as *const () as usize) {
        return Step::Forward(size_of::<usize>());
    }
    let size = sizes.into_iter().find(|(known, _)| is(*known)).map(|(_, size)| size);
    size.map_or(Step::Stop, Step::Forward)
}

/// Whether it is the instruction that ends a string with variables in 1.31.5, and in the older releases to
/// which distributions carried that change over. Looked up by name, since others lack the function.
fn is_value_end(code: usize) -> bool {
    extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: null asks for what the program and its libraries export; the name ends with NUL.
    let known =
        unsafe { dlsym(ptr::null_mut(), c"ngx_http_script_complex_value_end_code".as_ptr()) };
    !known.is_null() && known.addr() == code
}
