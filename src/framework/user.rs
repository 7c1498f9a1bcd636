//! Where a framework keeps who has logged in.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use crate::format::{Pipeline, Wanted};
use crate::pointer::{Pointer, Selected};
use crate::value::text;

/// The places where the user may stand, in the order in which they are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct User(Vec<Place>);

#[derive(Debug, Clone, PartialEq)]
struct Place {
    at: Pointer,
    /// What stands there is a text that holds a value of this format, in which the user stands here.
    inside: Option<(Pipeline, Pointer)>,
    /// Whether it may be an object or array.
    whole: bool,
}

impl User {
    /// It stands here.
    pub fn at(pointer: Pointer) -> Self {
        Self(vec![Place { at: pointer, inside: None, whole: true }])
    }

    /// It stands here, if what stands here is neither object nor array: these would tell all of the user.
    pub fn name_at(pointer: Pointer) -> Self {
        Self(vec![Place { at: pointer, inside: None, whole: false }])
    }

    /// At `at` stands a text of `format`, and in what that holds the user, at `pointer`.
    pub fn inside(at: Pointer, format: Pipeline, pointer: Pointer) -> Self {
        Self(vec![Place { at, inside: Some((format, pointer)), whole: true }])
    }

    /// Or else where `other` has it.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What must be decoded of a session for [`User::with`].
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.0.iter().map(|place| &place.at)
    }

    /// The user as text; `None` where there is none.
    pub fn text(&self, session: &Value) -> Option<String> {
        self.with(session, |found| text(found).map(Cow::into_owned))
    }

    /// Hands the user to `judge`: the first that is there and not null, else what the last place has.
    pub fn with<T>(&self, session: &Value, judge: impl FnOnce(&Selected<'_>) -> T) -> T {
        let mut found = Selected::None;
        let mut inner;
        for Place { at, inside, whole } in &self.0 {
            found = at.select(session);
            if !whole && matches!(found, Selected::One(Value::Object(_) | Value::Array(_))) {
                found = Selected::None;
            }
            if let (Selected::One(Value::String(text)), Some((format, pointer))) = (&found, inside)
            {
                let wanted = Wanted::of([pointer]);
                inner = format.decode(text.as_bytes(), &wanted).unwrap_or_default();
                if !matches!(pointer.select(&inner), Selected::None | Selected::One(Value::Null)) {
                    return judge(&pointer.select(&inner));
                }
                found = Selected::None;
            }
            if !matches!(found, Selected::None | Selected::One(Value::Null)) {
                break;
            }
        }
        judge(&found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(pointer: &str) -> Pointer {
        Pointer::parse(pointer).unwrap()
    }

    #[test]
    fn the_first_place_that_has_it() {
        let user = User::at(at("/a/name")).or(User::at(at("/a")));
        assert_eq!(user.text(&json!({"a": {"name": "x"}})).unwrap(), "x");
        assert_eq!(user.text(&json!({"a": "y"})).unwrap(), "y");
        assert_eq!(user.text(&json!({"a": null})), None);
        assert_eq!(user.pointers().map(Pointer::as_str).collect::<Vec<_>>(), ["/a/name", "/a"]);
    }

    #[test]
    fn a_name_is_no_object() {
        let user = User::name_at(at("/a"));
        assert_eq!(user.text(&json!({"a": 7})).unwrap(), "7");
        for whole in [json!({"password": "x"}), json!(["x"])] {
            assert_eq!(user.text(&json!({ "a": whole })), None);
        }
    }

    #[test]
    fn inside_a_text() {
        let php = Pipeline::parse(&["php_serialize"]).unwrap();
        let inside = |pointer| User::inside(at("/token"), php.clone(), at(pointer));
        let session = json!({"token": "a:1:{s:2:\"id\";i:7;}", "plain": 8});
        assert_eq!(inside("/id").text(&session).unwrap(), "7");
        assert_eq!(inside("/x").text(&session), None);
        assert_eq!(inside("/x").or(inside("/id")).text(&session).unwrap(), "7");
        assert_eq!(inside("/x").or(User::at(at("/plain"))).text(&session).unwrap(), "8");
        assert_eq!(inside("/id").text(&json!({"token": "no"})), None);
    }
}
