//! Memory that all workers share: a zone of nginx's, made anew with each configuration.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::AtomicU64;

use nginx_sys::{
    ngx_conf_t, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_calloc, ngx_slab_pool_t,
    ngx_str_t,
};

use super::{ngx_http_session_redis_module, ERROR, OK};

/// The count of the numbers.
const NUMBERS: usize = 2048;

/// The size of the zone: the numbers, and what nginx's allocator takes beside them.
const SIZE: usize = 64 * 1024;

/// The zone, once it has been asked for.
#[derive(Default)]
pub(super) struct SharedMemory {
    zone: Cell<Option<NonNull<ngx_shm_zone_t>>>,
}

impl SharedMemory {
    /// Asks nginx for the zone. None: it does not give one, and has said why.
    ///
    /// # Safety
    /// `cf` must be the live configuration, while it is read.
    pub(super) unsafe fn ask(&self, cf: *mut ngx_conf_t) -> Option<()> {
        const NAME: &[u8] = b"session_redis";
        let mut name = ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() };
        let tag = (&raw mut ngx_http_session_redis_module).cast::<c_void>();
        // SAFETY: the caller vouches for `cf`; nginx copies the name's place, which is static, and reads it only.
        unsafe {
            let mut zone = NonNull::new(ngx_shared_memory_add(cf, &raw mut name, SIZE, tag))?;
            zone.as_mut().init = Some(init);
            // Workers of different configurations tell their keys apart by other hashes.
            zone.as_mut().noreuse = 1;
            self.zone.set(Some(zone));
        }
        Some(())
    }

    /// The numbers, all 0 at first.
    ///
    /// # Safety
    /// They must not be used any more when the cycle of the configuration is gone.
    pub(super) unsafe fn numbers(&self) -> Option<&'static [AtomicU64]> {
        // SAFETY: nginx keeps the zone as long as its cycle, and has called `init` before a worker started.
        let numbers = self.zone.get().map(|zone| unsafe { zone.as_ref().data.cast::<AtomicU64>() });
        let numbers = numbers.and_then(NonNull::new)?;
        // SAFETY: `init` made so many, zeroed, aligned as any memory of the allocator's; they are written by atomic
        // operations only. The caller vouches for the time.
        Some(unsafe { slice::from_raw_parts(numbers.as_ptr(), NUMBERS) })
    }
}

/// Makes the numbers, once the zone has its memory.
unsafe extern "C" fn init(zone: *mut ngx_shm_zone_t, _: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx calls this with the zone, at whose beginning its allocator stands.
    unsafe {
        let pool = (*zone).shm.addr.cast::<ngx_slab_pool_t>();
        (*zone).data = ngx_slab_calloc(pool, NUMBERS * size_of::<AtomicU64>());
        match (*zone).data.is_null() {
            true => ERROR,
            false => OK,
        }
    }
}
