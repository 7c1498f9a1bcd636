//! Bit fields of nginx's structures, where the C compiler puts them; `auto/layout.rs` asks it.
//!
//! The accessors that bindgen makes are not used: up to 0.72 they are wrong where a field that is no bit field begins
//! inside of the bits' unit, as `ngx_http_request_t` has it since nginx 1.29.3. `make lint` refuses them.

#![allow(dead_code)]

use core::marker::PhantomData;
use core::ptr;

/// The place of a bit field in structures `S`.
pub(super) struct BitField<S> {
    byte: usize,
    bytes: usize,
    shift: u32,
    mask: u64,
    structure: PhantomData<fn(S)>,
}

impl<S> BitField<S> {
    /// `width` bits, `shift` from the lowest of the number that `bytes` bytes from `byte` on are.
    const fn new(byte: usize, bytes: usize, shift: u32, width: u32) -> Self {
        assert!(byte + bytes <= size_of::<S>() && bytes <= 8 && width > 0);
        Self { byte, bytes, shift, mask: u64::MAX >> (64 - width), structure: PhantomData }
    }

    /// Its value.
    #[inline]
    pub(super) fn get(&self, structure: &S) -> u64 {
        self.unit(structure) >> self.shift & self.mask
    }

    /// Whether it is not 0.
    #[inline]
    pub(super) fn is_set(&self, structure: &S) -> bool {
        self.get(structure) != 0
    }

    /// Gives it the lowest bits of `value`.
    #[inline]
    pub(super) fn set(&self, structure: &mut S, value: u64) {
        let others = self.unit(structure) & !(self.mask << self.shift);
        let unit = others | (value & self.mask) << self.shift;
        let first = ptr::from_mut(structure).cast::<u8>();
        for (index, at) in self.places().enumerate() {
            // SAFETY: these bytes lie in the structure, as `new` has seen.
            unsafe { first.add(at).write((unit >> (8 * index)) as u8) };
        }
    }

    /// The number that the bytes are.
    #[inline]
    fn unit(&self, structure: &S) -> u64 {
        let first = ptr::from_ref(structure).cast::<u8>();
        self.places().enumerate().fold(0, |unit, (index, at)| {
            // SAFETY: these bytes lie in the structure, as `new` has seen.
            unit | u64::from(unsafe { first.add(at).read() }) << (8 * index)
        })
    }

    /// Where its bytes lie, the lowest first.
    #[inline]
    fn places(&self) -> impl Iterator<Item = usize> {
        let (byte, bytes) = (self.byte, self.bytes);
        (0..bytes).map(move |at| match cfg!(target_endian = "big") {
            true => byte + bytes - 1 - at,
            false => byte + at,
        })
    }
}

include!(concat!(env!("OUT_DIR"), "/nginx_bits.rs"));

/// The compiler of nginx and that of the module must mean the same by a structure: the build fails where they do not.
mod layout {
    use core::mem::offset_of;

    use nginx_sys::*;

    #[allow(unused_imports)]
    use crate::module::checks::private::*;

    macro_rules! layout {
        ($structure:ident $size:literal $(, $field:ident $offset:literal)*) => {
            const _: () = assert!(
                size_of::<$structure>() == $size,
                concat!(
                    stringify!($structure), " has ", $size,
                    " bytes, says the C compiler, but not in the bindings that the module is built with"
                )
            );
            $(const _: () = assert!(
                offset_of!($structure, $field) == $offset,
                concat!(
                    stringify!($structure), ".", stringify!($field), " lies at byte ", $offset,
                    ", says the C compiler, but not in the bindings that the module is built with"
                )
            );)*
        };
    }

    include!(concat!(env!("OUT_DIR"), "/nginx_layout.rs"));
}
