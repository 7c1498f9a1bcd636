//! No framework: cookie, key and format are for the configuration to say.

#![forbid(unsafe_code)]

use super::{Framework, Row};
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::signature::Signing;

pub(super) const ROW: Row =
    Row { names: &["raw"], options: &[], build: |options| Ok(framework(options.framework)) };

pub(super) fn framework(name: &'static str) -> Framework {
    Framework {
        name,
        cookies: Vec::new(),
        identity: Identity {
            pick: Pick::First,
            unquote: true,
            signing: Signing::None,
            rule: IdRule::default(),
        },
        key: None,
        format: None,
        user: None,
        root: None,
        signed: false,
        refresh: None,
    }
}
