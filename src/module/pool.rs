//! Values that live as long as an nginx pool: dropped by the pool's own cleanup.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::{ngx_pcalloc, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t};

/// Ties `value` to the pool: it is dropped when the pool is destroyed. It lies outside, so that a request's pool need not
/// grow for it. None: out of memory.
///
/// # Safety
/// `pool` must point to a live pool, and the result must not be used after that pool is destroyed.
pub(super) unsafe fn give<T>(pool: *mut ngx_pool_t, value: T) -> Option<NonNull<T>> {
    // SAFETY: the caller vouches for the pool.
    let cleanup = unsafe { ngx_pool_cleanup_add(pool, 0).as_mut()? };
    let place = NonNull::from(Box::leak(Box::new(value)));
    cleanup.data = place.as_ptr().cast();
    cleanup.handler = Some(drop_value::<T>);
    Some(place)
}

/// The value of type `T` that was given to the pool last of those for which `wanted` holds.
///
/// # Safety
/// `pool` must point to a live pool; no other reference to the value may be in use.
pub(super) unsafe fn find<T>(
    pool: *mut ngx_pool_t,
    wanted: impl Fn(&T) -> bool,
) -> Option<NonNull<T>> {
    let given = drop_value::<T> as *const () as usize;
    // SAFETY: the cleanup list of a live pool is a chain of valid elements ended by null.
    let mut next = unsafe { (*pool).cleanup };

    // SAFETY: as above.
    while let Some(cleanup) = unsafe { next.as_ref() } {
        if cleanup.handler.is_some_and(|handler| handler as *const () as usize == given) {
            let value = NonNull::new(cleanup.data.cast::<T>())?;
            // SAFETY: the handler tells that `give` has put a `T` there; the caller vouches that it may be looked at.
            if wanted(unsafe { value.as_ref() }) {
                return Some(value);
            }
        }
        next = cleanup.next;
    }

    None
}

unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
    // SAFETY: nginx calls a cleanup once, with the data that `give` has taken out of its box.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// A zeroed `T` in the pool, for nginx's own C structures.
///
/// # Safety
/// `pool` must be live, and all zeroes must be a valid `T`.
pub(super) unsafe fn zeroed<T>(pool: *mut ngx_pool_t) -> Option<NonNull<T>> {
    // SAFETY: the caller vouches for the pool.
    NonNull::new(unsafe { ngx_pcalloc(pool, size_of::<T>()) }.cast())
}

/// A copy of the concatenated `parts` in the pool, followed by a NUL byte that is not counted.
///
/// # Safety
/// `pool` must be live.
pub(super) unsafe fn copy(pool: *mut ngx_pool_t, parts: &[&[u8]]) -> Option<ngx_str_t> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    // SAFETY: the caller vouches for the pool.
    let data = NonNull::new(unsafe { ngx_pnalloc(pool, len + 1) }.cast::<u8>())?.as_ptr();

    let mut filled = 0;
    for part in parts {
        // SAFETY: `data` has room for all parts and the NUL; parts lie elsewhere.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), data.add(filled), part.len()) };
        filled += part.len();
    }
    // SAFETY: as above.
    unsafe { data.add(filled).write(0) };

    Some(ngx_str_t { len, data })
}
