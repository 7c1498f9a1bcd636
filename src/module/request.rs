//! The parts of `ngx_http_request_t` that the module reads and changes, request headers above all.

mod log;

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_connection_t, ngx_hash_key, ngx_http_complex_value, ngx_http_complex_value_t,
    ngx_http_core_loc_conf_t, ngx_http_request_t, ngx_int_t, ngx_list_part_t, ngx_list_push,
    ngx_pool_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t, NGX_OK,
};
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};

use super::bits::{http_headers_in, http_request, http_upstream};
use super::conf::HeaderKey;
use super::pool;
use crate::login::safe_address;

/// A request, for the time of one callback.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Request(NonNull<ngx_http_request_t>);

impl Request {
    /// # Safety
    /// `r` must point to a live request, and the result must not be used once that request may
    /// have been freed: after finalizing it or running its phases.
    pub(super) unsafe fn from_raw(r: *mut ngx_http_request_t) -> Self {
        // SAFETY: the caller vouches for the pointer.
        Self(unsafe { NonNull::new_unchecked(r) })
    }

    pub(super) fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    /// The request itself. Shared, so nothing else may be changed through nginx while it is held.
    pub(super) fn raw<'a>(self) -> &'a ngx_http_request_t {
        // SAFETY: live by the contract of `from_raw`.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn pool(self) -> *mut ngx_pool_t {
        self.raw().pool
    }

    pub(super) fn connection(self) -> *mut ngx_connection_t {
        self.raw().connection
    }

    /// The request that the client made, of which this may be a subrequest.
    pub(super) fn main(self) -> Self {
        // SAFETY: `main` points to the request itself or to its live parent.
        unsafe { Self::from_raw(self.raw().main) }
    }

    pub(super) fn is_main(self) -> bool {
        self.main() == self
    }

    /// nginx's own configuration of the location in force.
    pub(super) fn core_location(self) -> Option<&'static ngx_http_core_loc_conf_t> {
        NgxHttpCoreModule::location_conf(self.raw())
    }

    pub(super) fn method(self) -> ngx_uint_t {
        self.raw().method
    }

    /// Whether a body follows the header: one whose length is told, or not (chunked, or an HTTP/2 stream that is open).
    pub(super) fn has_body(self) -> bool {
        let headers_in = &self.raw().headers_in;
        headers_in.content_length_n > 0 || http_headers_in::CHUNKED.is_set(headers_in)
    }

    /// The bytes of a string that the request owns.
    pub(super) fn bytes<'a>(self, text: ngx_str_t) -> &'a [u8] {
        if text.data.is_null() {
            return &[];
        }
        // SAFETY: nginx's strings of a live request point to `len` bytes in its pool or buffers,
        // and callers keep the result no longer than the request.
        unsafe { core::slice::from_raw_parts(text.data, text.len) }
    }

    /// The URI as the client sent it, with arguments.
    pub(super) fn original_uri<'a>(self) -> &'a [u8] {
        self.bytes(self.raw().unparsed_uri)
    }

    /// The arguments as the client sent them, without the question mark.
    pub(super) fn original_args<'a>(self) -> &'a [u8] {
        let uri = self.original_uri();
        uri.iter().position(|&byte| byte == b'?').map_or(&[], |mark| &uri[mark + 1..])
    }

    /// The normalized URI in force, without arguments.
    pub(super) fn uri<'a>(self) -> &'a [u8] {
        self.bytes(self.raw().uri)
    }

    /// `Host` as the client sent it; without such a header, as in HTTP/3, the host that nginx takes for it.
    pub(super) fn host<'a>(self) -> &'a [u8] {
        let headers_in = &self.raw().headers_in;
        match NonNull::new(headers_in.host) {
            Some(element) => Header(element).value(),
            None => self.bytes(headers_in.server),
        }
    }

    /// Whether the client's connection is under TLS.
    pub(super) fn is_https(self) -> bool {
        #[cfg(ngx_feature = "http_ssl")]
        // SAFETY: a live request has a connection.
        return unsafe { !(*self.raw().connection).ssl.is_null() };
        #[cfg(not(ngx_feature = "http_ssl"))]
        return false;
    }

    /// Evaluates a string with variables. None: out of memory.
    pub(super) fn evaluate<'a>(self, value: &ngx_http_complex_value_t) -> Option<&'a [u8]> {
        let mut result = ngx_str_t::default();
        let value = ptr::from_ref(value).cast_mut();
        // SAFETY: `value` was compiled by nginx and is only read, as in nginx's own modules.
        let rc = unsafe { ngx_http_complex_value(self.as_ptr(), value, &mut result) };
        (rc == NGX_OK as ngx_int_t).then(|| self.bytes(result))
    }

    /// A copy of the concatenated parts, in the request's pool.
    pub(super) fn copy(self, parts: &[&[u8]]) -> Option<ngx_str_t> {
        // SAFETY: the pool of a live request is live.
        unsafe { pool::copy(self.pool(), parts) }
    }

    /// The request headers as the client sent them or the module left them.
    pub(super) fn headers(self) -> Headers {
        // SAFETY: the list is embedded in the live request.
        Headers { part: unsafe { &raw const (*self.as_ptr()).headers_in.headers.part }, index: 0 }
    }

    /// Its `Cookie` headers, where nginx has found them.
    pub(super) fn cookies(self) -> impl Iterator<Item = Header> {
        let headers_in = &self.raw().headers_in;
        #[cfg(not(nginx_1_23))]
        return {
            let (first, count) = (headers_in.cookies.elts, headers_in.cookies.nelts);
            let first = first.cast::<*mut ngx_table_elt_t>();
            // SAFETY: the array holds `count` pointers to elements of the list.
            (0..count).filter_map(move |at| NonNull::new(unsafe { *first.add(at) }).map(Header))
        };
        #[cfg(nginx_1_23)]
        return core::iter::successors(NonNull::new(headers_in.cookie), |element| {
            // SAFETY: elements of the list live as long as the request.
            NonNull::new(unsafe { (*element.as_ptr()).next })
        })
        .map(Header);
    }

    /// The headers of the response as the backend sent them.
    pub(super) fn upstream_headers(self) -> Headers {
        // SAFETY: what the request has of a backend lives as long as the request; the list is embedded in it.
        let part = unsafe {
            self.raw().upstream.as_ref().map(|upstream| &raw const upstream.headers_in.headers.part)
        };
        Headers { part: part.unwrap_or(ptr::null()), index: 0 }
    }

    /// The name of the server whose response this is. None: nginx has made it, or has had it in a cache.
    pub(super) fn answering_server<'a>(self) -> Option<&'a [u8]> {
        #[cfg(ngx_feature = "http_cache")]
        if http_request::CACHED.is_set(self.raw()) {
            return None;
        }
        // A filter has put an error page in its place, which must be sent at once.
        if http_request::FILTER_FINALIZE.is_set(self.raw()) {
            return None;
        }
        // SAFETY: as above; while there is a connection to a server, so is its name.
        unsafe {
            let peer = &self.raw().upstream.as_ref()?.peer;
            let name = peer.name.as_ref().filter(|_| !peer.connection.is_null())?;
            Some(self.bytes(*name))
        }
    }

    /// Whether client and backend are about to speak another protocol.
    pub(super) fn is_upgraded(self) -> bool {
        // SAFETY: as above.
        unsafe { self.raw().upstream.as_ref() }
            .is_some_and(|upstream| http_upstream::UPGRADE.is_set(upstream))
    }

    /// Whether this is the answer to an error, by `error_page`.
    pub(super) fn is_error_page(self) -> bool {
        http_request::ERROR_PAGE.is_set(self.raw())
    }

    /// Whether the header of the answer is sent, or about to be.
    pub(super) fn is_header_sent(self) -> bool {
        http_request::HEADER_SENT.is_set(self.raw())
    }

    /// Whether the answer has no body.
    pub(super) fn is_header_only(self) -> bool {
        http_request::HEADER_ONLY.is_set(self.raw())
    }

    pub(super) fn set_header_only(self) {
        // SAFETY: the request is live, and no reference to it is held.
        unsafe { http_request::HEADER_ONLY.set(&mut *self.as_ptr(), 1) };
    }

    /// One more has to finalize the request before it ends.
    pub(super) fn add_reference(self) {
        // SAFETY: as above.
        let request = unsafe { &mut *self.as_ptr() };
        http_request::COUNT.set(request, http_request::COUNT.get(request) + 1);
    }

    /// The value of the first header of this name.
    pub(super) fn header<'a>(self, name: &[u8]) -> Option<&'a [u8]> {
        self.headers().find(|header| header.name().eq_ignore_ascii_case(name)).map(Header::value)
    }

    /// Takes the headers for which `unwanted` holds out of the request. Elements that stay do not
    /// move, since nginx keeps pointers to them. True when any was removed.
    pub(super) fn remove_headers(self, mut unwanted: impl FnMut(Header) -> bool) -> Option<bool> {
        if !self.headers().any(&mut unwanted) {
            return Some(false);
        }
        let kept = self.kept_runs(&mut unwanted);
        self.forget(&mut unwanted);
        self.relink(&kept)?;
        Some(true)
    }

    /// Runs of adjacent elements that stay, each to become a part of the list.
    fn kept_runs(
        self,
        unwanted: &mut impl FnMut(Header) -> bool,
    ) -> Vec<(*mut ngx_table_elt_t, usize)> {
        let mut runs: Vec<(*mut ngx_table_elt_t, usize)> = Vec::new();
        for header in self.headers().filter(|&header| !unwanted(header)) {
            let element = header.0.as_ptr();
            match runs.last_mut() {
                Some((start, count)) if start.wrapping_add(*count) == element => *count += 1,
                _ => runs.push((element, 1)),
            }
        }
        runs
    }

    /// Clears nginx's own pointers to elements that go: of all the names that may be removed these
    /// are `Authorization`, the only one of nginx's table that may be injected, and `Cookie`.
    fn forget(self, unwanted: &mut impl FnMut(Header) -> bool) {
        // SAFETY: the request is live and no reference into `headers_in` is held.
        let headers_in = unsafe { &mut (*self.as_ptr()).headers_in };
        if let Some(element) = NonNull::new(headers_in.authorization) {
            if unwanted(Header(element)) {
                headers_in.authorization = ptr::null_mut();
                headers_in.user = ngx_str_t::default();
                headers_in.passwd = ngx_str_t::default();
            }
        }
        #[cfg(not(nginx_1_23))]
        {
            let cookies = headers_in.cookies.elts.cast::<*mut ngx_table_elt_t>();
            let mut kept = 0;
            for index in 0..headers_in.cookies.nelts {
                // SAFETY: the array holds `nelts` pointers to elements of the list.
                unsafe {
                    let element = *cookies.add(index);
                    if !NonNull::new(element).is_some_and(|element| unwanted(Header(element))) {
                        *cookies.add(kept) = element;
                        kept += 1;
                    }
                }
            }
            headers_in.cookies.nelts = kept;
        }
        #[cfg(nginx_1_23)]
        {
            let mut link = &raw mut headers_in.cookie;
            // SAFETY: `link` points to the head or to the `next` of a live element.
            while let Some(element) = NonNull::new(unsafe { *link }) {
                // SAFETY: elements of the list live as long as the request.
                unsafe {
                    if unwanted(Header(element)) {
                        *link = (*element.as_ptr()).next;
                    } else {
                        link = &raw mut (*element.as_ptr()).next;
                    }
                }
            }
        }
    }

    /// Makes the list consist of these runs. No part may be empty but a lone first one, since nginx's
    /// loops look at a part's first element unasked; and what is pushed later must not land behind a
    /// run that ends in the midst of its memory, hence the part's capacity is said to be used up.
    fn relink(self, runs: &[(*mut ngx_table_elt_t, usize)]) -> Option<()> {
        const FRESH: usize = 8;
        // SAFETY: the pool is live; the list is embedded in the live request; parts and elements are
        // plain C structures in memory that the pool gives, enough for all runs but the first, which
        // lies in the embedded part.
        unsafe {
            let list = &raw mut (*self.as_ptr()).headers_in.headers;
            let mut last = &raw mut (*list).part;
            let Some((first, rest)) = runs.split_first() else {
                let size = FRESH * size_of::<ngx_table_elt_t>();
                let fresh = NonNull::new(nginx_sys::ngx_palloc(self.pool(), size))?;
                *last = ngx_list_part_t { elts: fresh.as_ptr(), nelts: 0, next: ptr::null_mut() };
                (*list).last = last;
                (*list).nalloc = FRESH;
                return Some(());
            };
            let part = |run: &(*mut ngx_table_elt_t, usize)| ngx_list_part_t {
                elts: run.0.cast::<c_void>(),
                nelts: run.1,
                next: ptr::null_mut(),
            };
            *last = part(first);
            for run in rest {
                let next = pool::zeroed::<ngx_list_part_t>(self.pool())?.as_ptr();
                *next = part(run);
                (*last).next = next;
                last = next;
            }
            (*list).last = last;
            (*list).nalloc = (*last).nelts;
        }
        Some(())
    }

    /// Appends a header; `value` is copied.
    pub(super) fn push_header(self, key: &HeaderKey, value: &[u8]) -> Option<Header> {
        let header = self.push_element(key, self.copy(&[value])?)?;
        if key.name.as_bytes().eq_ignore_ascii_case(b"authorization") {
            // SAFETY: the request is live, and the element lives as long.
            unsafe { (*self.as_ptr()).headers_in.authorization = header.0.as_ptr() };
        }
        Some(header)
    }

    fn push_element(self, key: &HeaderKey, value: ngx_str_t) -> Option<Header> {
        // SAFETY: the list is embedded in the live request; what is pushed is filled in at once. A key is static, or
        // lives as long as the configuration, which a request keeps.
        unsafe {
            let list = &raw mut (*self.as_ptr()).headers_in.headers;
            let element = NonNull::new(ngx_list_push(list).cast::<ngx_table_elt_t>())?;
            element.as_ptr().write_bytes(0, 1);
            (*element.as_ptr()).hash = key.hash;
            (*element.as_ptr()).key = key.name;
            (*element.as_ptr()).lowcase_key = key.lowercase;
            (*element.as_ptr()).value = value;
            Some(Header(element))
        }
    }

    /// Puts these `Cookie` headers in the place of those that are there. The values are not copied.
    pub(super) fn set_cookies(self, values: &[ngx_str_t]) -> Option<()> {
        const NAME: &[u8] = b"Cookie";
        const LOWERCASE: &[u8] = b"cookie";
        self.remove_headers(|header| header.is_called(LOWERCASE))?;
        let key = HeaderKey {
            name: ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() },
            lowercase: LOWERCASE.as_ptr().cast_mut(),
            // SAFETY: it only reads the bytes.
            hash: unsafe { ngx_hash_key(LOWERCASE.as_ptr().cast_mut(), LOWERCASE.len()) },
        };
        for value in values {
            let element = self.push_element(&key, *value)?.0.as_ptr();
            // SAFETY: the request is live and no reference into `headers_in` is held; `remove_headers` has left no
            // other cookie. The array is there where the client has sent one, as whoever has values knows.
            unsafe {
                let headers_in = &raw mut (*self.as_ptr()).headers_in;
                #[cfg(not(nginx_1_23))]
                {
                    let place = nginx_sys::ngx_array_push(&raw mut (*headers_in).cookies);
                    *NonNull::new(place.cast::<*mut ngx_table_elt_t>())?.as_ptr() = element;
                }
                #[cfg(nginx_1_23)]
                {
                    let mut link = &raw mut (*headers_in).cookie;
                    while !(*link).is_null() {
                        link = &raw mut (**link).next;
                    }
                    *link = element;
                }
            }
        }
        Some(())
    }

    /// Replaces the value of a header where it stands.
    pub(super) fn replace_value(self, header: Header, value: &[u8]) -> Option<()> {
        let value = self.copy(&[value])?;
        // SAFETY: the element lives as long as the request, and no reference to it is held.
        unsafe { (*header.0.as_ptr()).value = value };
        Some(())
    }

    /// Adds a header to the answer.
    pub(super) fn push_answer_header(self, name: &'static str, value: &[u8]) -> Option<Header> {
        let value = self.copy(&[value])?;
        // SAFETY: the list is embedded in the live request; `name` is static and never written.
        unsafe {
            let list = &raw mut (*self.as_ptr()).headers_out.headers;
            let element = NonNull::new(ngx_list_push(list).cast::<ngx_table_elt_t>())?;
            element.as_ptr().write_bytes(0, 1);
            (*element.as_ptr()).hash = 1;
            (*element.as_ptr()).key = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
            (*element.as_ptr()).value = value;
            Some(Header(element))
        }
    }

    /// As `push_answer_header`, in the place of our own of this name: an error page may be refused itself. Those of others
    /// stay beside it.
    pub(super) fn set_answer_header(self, name: &AnswerName, value: &[u8]) -> Option<Header> {
        // SAFETY: the list is embedded in the live request.
        let part = unsafe { &raw const (*self.as_ptr()).headers_out.headers.part };
        let mut headers = Headers { part, index: 0 };
        match headers.find(|header| header.is_sent() && ptr::eq(header.name(), name.0.as_bytes())) {
            Some(header) => self.replace_value(header, value).map(|()| header),
            None => self.push_answer_header(name.0, value),
        }
    }

    /// No cache keeps the answer.
    pub(super) fn forbid_storing(self) -> Option<Header> {
        static CACHE_CONTROL: AnswerName = AnswerName("Cache-Control");
        self.set_answer_header(&CACHE_CONTROL, b"no-store")
    }

    /// No browser takes the answer for another type than it says.
    pub(super) fn forbid_sniffing(self) -> Option<Header> {
        static CONTENT_TYPE_OPTIONS: AnswerName = AnswerName("X-Content-Type-Options");
        self.set_answer_header(&CONTENT_TYPE_OPTIONS, b"nosniff")
    }

    /// A header of the answer is not sent.
    pub(super) fn withdraw(self, header: Header) {
        // SAFETY: the element lives as long as the request, and no reference to it is held.
        unsafe { (*header.0.as_ptr()).hash = 0 };
    }

    /// Sets where the answer sends the client.
    pub(super) fn set_location(self, address: &[u8]) -> Option<()> {
        let header = self.push_answer_header("Location", &safe_address(address))?;
        // SAFETY: the request is live, and the element lives as long.
        unsafe { (*self.as_ptr()).headers_out.location = header.0.as_ptr() };
        Some(())
    }
}

/// The name of a header of an answer that we set: the one place in memory where it lies tells it from others.
pub(super) struct AnswerName(&'static str);

pub(super) static RETRY_AFTER: AnswerName = AnswerName("Retry-After");
pub(super) static ALLOW: AnswerName = AnswerName("Allow");

/// One header, as long as its request lives; one that is taken out of the request is there no more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(NonNull<ngx_table_elt_t>);

impl Header {
    pub(super) fn name<'a>(self) -> &'a [u8] {
        // SAFETY: an element of a live request's list; its strings live in the request's memory.
        unsafe { (*self.0.as_ptr()).key.as_bytes_unbound() }
    }

    /// Whether it has this name, in whatever case.
    pub(super) fn is_called(self, name: &[u8]) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    pub(super) fn value<'a>(self) -> &'a [u8] {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).value.as_bytes_unbound() }
    }

    /// The value as nginx has it.
    pub(super) fn raw_value(self) -> ngx_str_t {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).value }
    }

    /// Whether a header of an answer is not withdrawn.
    fn is_sent(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).hash != 0 }
    }
}

trait Unbound {
    /// # Safety
    /// The bytes must outlive every use of the result.
    unsafe fn as_bytes_unbound<'a>(&self) -> &'a [u8];
}

impl Unbound for ngx_str_t {
    unsafe fn as_bytes_unbound<'a>(&self) -> &'a [u8] {
        match self.data.is_null() {
            true => &[],
            // SAFETY: nginx's strings point to `len` bytes; the caller vouches for their life.
            false => unsafe { core::slice::from_raw_parts(self.data, self.len) },
        }
    }
}

/// The headers of a request in order.
pub(super) struct Headers {
    part: *const ngx_list_part_t,
    index: usize,
}

impl Iterator for Headers {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        // SAFETY: parts of a live request's list are linked until null and hold `nelts` elements.
        unsafe {
            while self.index >= self.part.as_ref()?.nelts {
                self.part = (*self.part).next;
                self.index = 0;
            }
            let element = (*self.part).elts.cast::<ngx_table_elt_t>().add(self.index);
            self.index += 1;
            NonNull::new(element).map(Header)
        }
    }
}
