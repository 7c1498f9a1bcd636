//! No framework: cookie, key and format are for the configuration to say.

#![forbid(unsafe_code)]

use super::{Framework, Row};
use crate::session::cookie::Spelling;
use crate::session::identity::Identity;
use crate::stored::Shape;

pub(super) const ROW: Row =
    Row { names: &["raw"], options: &[], build: |options| Ok(framework(options.framework)) };

pub(super) fn framework(name: &'static str) -> Framework {
    let plain = Framework::plain(name);
    Framework {
        shape: Shape::Any,
        identity: Identity { spelling: Spelling::Unknown, ..plain.identity },
        ..plain
    }
}
