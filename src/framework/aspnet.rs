//! ASP.NET Core's session middleware on a distributed cache in Redis.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;
use crate::stored::{Life, Shape};

pub(super) const ROW: Row =
    Row { names: &["aspnet"], options: &[("instance", ""), ("application", "")], build };

/// `instance` is the cache's `InstanceName`, `application` what the application is called where its cookies
/// are protected: the name given to `SetApplicationName` or, as it is by default, its content root.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let application = options.get("application").to_owned();
    Ok(Framework {
        cookies: vec![".AspNetCore.Session".to_owned()],
        // `CookieHeaderParserShared` has the last of a name replace those before it, keeps quotes and
        // hands on what it cannot decode.
        identity: Identity {
            pick: Pick::Last,
            spelling: Spelling::AnyCase,
            unquote: false,
            url_decode: true,
            scheme: Scheme::DataProtection { application },
            // A GUID.
            rule: IdRule::new("0-9a-f-", 36, 36),
        },
        key: Some(KeyForm::prefixed(options.get("instance"))),
        shape: Shape::Field("data"),
        format: Some(Pipeline::parse(&["aspnet"])?),
        life: vec![Life::Ticks { at: Pointer::parse("/absexp")? }],
        ..Framework::plain(options.framework)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::{framework, id, key};
    use crate::session::id::Invalid;

    const VALUE: &str = "CfDJ8C0ciz9fTnFggpOktcbX6PmbBd5z1D%2BMTsERDGvMUxK88LU7LaBB%2FKSe8LmDkGCzRTxOrT8Z1oBwtsAdjzmQxi3ppMLL9X1rcM7fHZMUX5PjTKTkWI7Tdve95L5417RZgZhPsWIb1Ml7Z%2F4or8I%2BxC9FXaoGDL3H3ClLfQLBSV55";
    const ID: &str = "c0ffee00-1234-4abc-9def-0123456789ab";
    const SECRET: [&str; 1] = ["base64:UgWKNKOE8hZpvWdOx8EQ4+LeUo18YHUkmfq9iRpXhN/MZEyEt0AVRtidMPSecGZlx+rlIUt+8sJNbIKCjM4rxg=="];

    fn aspnet(options: &[&str]) -> Framework {
        framework("aspnet", &[&["application=shop-app"], options].concat())
    }

    #[test]
    fn keys_have_the_instances_name() {
        assert_eq!(aspnet(&[]).cookies, [".AspNetCore.Session"]);
        assert_eq!(key(&aspnet(&[]), VALUE, &SECRET), ID);
        assert_eq!(key(&aspnet(&["instance=Shop:"]), VALUE, &SECRET), format!("Shop:{ID}"));
    }

    #[test]
    fn nothing_is_taken_that_is_not_protected() {
        assert!(aspnet(&[]).identity.scheme.needs_secret());
        assert_eq!(id(&aspnet(&[]), ID, &SECRET), Err(Invalid::Unsigned));
        assert_eq!(id(&aspnet(&[]), "%", &SECRET), Err(Invalid::Unsigned));
        let unnamed = framework("aspnet", &[]);
        assert_eq!(id(&unnamed, VALUE, &SECRET), Err(Invalid::Signature));
    }

    #[test]
    fn a_session_may_have_an_absolute_end() {
        let life = aspnet(&[]).life;
        let end = |absexp| life.first().unwrap().end(&json!({ "absexp": absexp }));
        assert_eq!(end("-1"), None);
        assert_eq!(end("638448092551230000"), Some(1_709_212_455_123));
    }
}
