//! Laravel's encrypted cookies: an envelope, in it the mark of the cookie's name and the id.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::{Carried, Open};
use crate::config::ConfigError;
use crate::session::envelope::{Cipher, Encrypter};
use crate::session::id::Invalid;
use crate::session::secrets::Secrets;

/// `Illuminate\Cookie\Middleware\EncryptCookies`.
#[derive(Debug)]
pub(super) struct LaravelCookie(Option<Encrypter>);

impl LaravelCookie {
    pub(super) fn new(
        cipher: Option<Cipher>,
        secrets: Option<&Secrets>,
    ) -> Result<Self, ConfigError> {
        secrets.map(|secrets| Encrypter::new(secrets, cipher)).transpose().map(Self)
    }
}

impl Open for LaravelCookie {
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let encrypter = self.0.as_ref().ok_or(Invalid::Signature)?;
        encrypter.open_cookie(carried.name, value).map(Cow::Owned).ok_or(Invalid::Signature)
    }
}
