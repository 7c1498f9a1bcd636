//! ThinkPHP: version 5 saves PHP's sessions by a handler of its own, 6 and 8 keep theirs in its cache.

#![forbid(unsafe_code)]

use super::php;
use super::{member, Framework, Options, Refresh, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::id::IdRule;
use crate::session::identity::Identity;
use crate::session::key::KeyForm;

pub(super) const ROW: Row = Row {
    names: &["thinkphp"],
    options: &[("version", "5"), ("session_name", ""), ("scope", "think"), ("prefix", "")],
    build,
};

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    match options.one_of("version", &["5", "6", "8"])? {
        "5" => version_5(options),
        _ => version_6(options),
    }
}

/// `think\session\driver\Redis`: everything stands in `$_SESSION[<scope>]`, and what is written in a
/// configuration is meant from there.
fn version_5(options: &Options<'_>) -> Result<Framework, ConfigError> {
    if options.given("prefix").is_some() {
        return Err(ConfigError::new(
            "thinkphp: \"prefix=\" with version 5 is ambiguous: for the key use \"session_name=\", \
             for config.php 'prefix' => 'think' use \"scope=think\"",
        ));
    }
    let root = match options.get("scope") {
        "" => None,
        scope => Some(member(scope)?),
    };
    Ok(Framework {
        cookies: vec![php::COOKIE.to_owned()],
        identity: php::IDENTITY,
        key: Some(KeyForm::prefixed(options.get("session_name"))),
        format: Some(Pipeline::parse(&["php"])?),
        root,
        // Its option `expire`; it writes at the end of each request.
        refresh: Some(Refresh::Fixed(3_600_000)),
        ..Framework::plain(options.framework)
    })
}

/// `think\session\Store` over `think\session\driver\Cache`: the prefix of the cache and that of the session
/// stand before the id, and the cache serialises what the session has serialised already.
fn version_6(options: &Options<'_>) -> Result<Framework, ConfigError> {
    for option in ["session_name", "scope"] {
        if options.given(option).is_some() {
            return Err(ConfigError::new(format!("thinkphp: \"{option}=\" is for version 5"))
                .hint("versions 6 and 8 know \"prefix=\", the cache's prefix and the session's"));
        }
    }
    Ok(Framework {
        cookies: vec![php::COOKIE.to_owned()],
        // Any other length is replaced by a new id (`Store::setId`), which is an MD5 digest.
        identity: Identity { rule: IdRule::new("A-Za-z0-9", 32, 32), ..php::IDENTITY },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["php_serialize"])?),
        // Its option `expire`; it writes at the end of each request.
        refresh: Some(Refresh::Fixed(1_440_000)),
        ..Framework::plain(options.framework)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::Wanted;
    use crate::framework::tests::{id, key, refused};
    use crate::pointer::{Pointer, Selected};
    use crate::session::id::Invalid;

    #[test]
    fn keys_of_captured_sessions_of_version_5() {
        let plain = Framework::parse(&["thinkphp"]).unwrap();
        assert_eq!(plain.cookies, ["PHPSESSID"]);
        assert_eq!(key(&plain, "tk23d9t30aqv7qm177g0cjc2gi", &[]), "tk23d9t30aqv7qm177g0cjc2gi");
        let named = Framework::parse(&["thinkphp", "session_name=think_sess_"]).unwrap();
        assert_eq!(
            key(&named, "vsbrh89i01vbnla74sn77ghs7a", &[]),
            "think_sess_vsbrh89i01vbnla74sn77ghs7a"
        );
    }

    #[test]
    fn pointers_begin_at_the_scope() {
        let uid = |args: &[&str]| {
            let framework = Framework::parse(args).unwrap();
            let stored = br#"think|a:1:{s:3:"uid";i:1001;}a/b~|a:1:{s:3:"uid";i:7;}uid|i:3;"#;
            let session = framework.format.as_ref().unwrap().decode(stored, &Wanted::All).unwrap();
            let uid = Pointer::parse("/uid").unwrap();
            let uid = framework.rooted(&uid);
            match uid.select(&session) {
                Selected::One(uid) => uid.clone(),
                _ => json!(null),
            }
        };
        assert_eq!(uid(&["thinkphp"]), json!(1001));
        assert_eq!(uid(&["thinkphp", "version=5", "scope=a/b~"]), json!(7));
        assert_eq!(uid(&["thinkphp", "scope="]), json!(3));
        assert_eq!(uid(&["thinkphp", "scope=other"]), json!(null));
    }

    #[test]
    fn versions_6_and_8() {
        for version in ["version=6", "version=8"] {
            let framework = Framework::parse(&["thinkphp", version, "prefix=sess:"]).unwrap();
            let md5 = "0cc175b9c0f1b6a831c399e269772661";
            assert_eq!(key(&framework, md5, &[]), format!("sess:{md5}"));
            for (value, reason) in
                [(&md5[1..], Invalid::Short), ("0cc175b9c0f1b6a831c399e2697726611", Invalid::Long)]
            {
                assert_eq!(id(&framework, value, &[]), Err(reason));
            }
            let stored = br#"s:27:"a:1:{s:3:"uid";s:4:"1001";}";"#;
            let session = framework.format.unwrap().decode(stored, &Wanted::All);
            assert_eq!(session, Ok(json!({ "uid": "1001" })));
        }
    }

    #[test]
    fn options_of_another_version() {
        assert_eq!(
            refused(&["thinkphp", "prefix=think"]),
            "thinkphp: \"prefix=\" with version 5 is ambiguous: for the key use \"session_name=\", for config.php 'prefix' => 'think' use \"scope=think\""
        );
        assert_eq!(
            refused(&["thinkphp", "version=6", "scope=think"]),
            "thinkphp: \"scope=\" is for version 5; versions 6 and 8 know \"prefix=\", the cache's prefix and the session's"
        );
        assert_eq!(
            refused(&["thinkphp", "version=7"]),
            "thinkphp: \"version=\" cannot be \"7\"; known: 5, 6, 8"
        );
    }
}
