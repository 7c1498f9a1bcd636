//! How a connection ends before its time, and what becomes of the lookups that it carries.

use std::rc::Rc;

use super::{Connection, Purpose, Slot, State};
use crate::module::lookup::Lookup;
use crate::store::ability::Feature;
use crate::store::dialect::Dialogue;
use crate::store::error::{Failure, Step};

impl Connection {
    /// Closes the connection and sends its lookups elsewhere, or fails them.
    pub(in crate::module) fn fail(self: &Rc<Self>, failure: &Failure) {
        if !self.is_open() {
            return;
        }
        let lacking = self.hung_up_on(failure);
        let named = self.names_step(failure);
        let failure = named.as_ref().unwrap_or(failure);
        let again = (self.used.get() && failure.is_retryable_on_fresh_connection())
            || lacking.is_some()
            || (failure.is_about_password()
                && self.servers.has_newer_password(self.password.borrow().as_deref()));
        let slots = self.slots.take();
        if *failure == Failure::Timeout {
            // One of them may be what takes the server so long.
            for slot in &slots {
                if let Slot::Value(lookup) = slot {
                    self.servers.client().suspect(lookup.query.key());
                }
            }
        }
        let is_idle = slots.is_empty() && failure.is_retryable_on_fresh_connection();
        let failure = &self.without_a_word(failure);
        let purpose = self.purpose.get();
        self.close();
        self.servers.forget(self);

        if let Some(watch) = self.servers.watched_by() {
            watch.lost(self.server, failure);
        } else if purpose == Purpose::Probe {
            self.servers.probe_failed(self.server, failure);
        } else if purpose == Purpose::Lookups
            && !again
            && !is_idle
            && failure.counts_against_server()
        {
            self.servers.server_failed(self.server, failure);
        }

        for slot in slots {
            match (slot, lacking) {
                // There is no second reply to be had.
                (Slot::Ttl(lookup), Some(Feature::Life)) => {
                    let first = lookup.value.take().filter(|_| lookup.is_carried_by(self));
                    if let Some(outcome) = first {
                        self.answer(&lookup, outcome, None);
                    }
                }
                (slot, _) => {
                    if let Some(lookup) = self.owed(slot) {
                        self.servers.try_again(&lookup, failure, self.server, again);
                    }
                }
            }
        }
    }

    /// What the server may not know, since it closed the connection where an answer to that was due.
    fn hung_up_on(&self, failure: &Failure) -> Option<Feature> {
        if !matches!(failure, Failure::Closed | Failure::Broken(_)) {
            return None;
        }
        let dialogue = self.dialogue.borrow();
        let asked = match dialogue.as_ref() {
            Some(dialogue) if dialogue.awaits_reply() => dialogue.awaited_feature(),
            _ => self.slots.borrow().iter().find_map(|slot| match slot {
                Slot::Ttl(_) => self.servers.dialect().may_lack_lives().then_some(Feature::Life),
                Slot::Touched { longer: true } => Some(Feature::Longer),
                _ => None,
            }),
        };
        if self.purpose.get() == Purpose::Trial {
            if asked == Some(Feature::Tracking) {
                self.servers.lacks_tracking(self.server);
            }
            return None;
        }
        let lacking = asked.filter(|feature| self.servers.hung_up(*feature));
        if lacking.is_none() && !self.used.get() {
            self.servers.hung_up_anyway();
        }
        lacking
    }

    /// The failure of a handshake that the server ended by closing the connection.
    fn names_step(&self, failure: &Failure) -> Option<Failure> {
        let closed = matches!(failure, Failure::Closed | Failure::Broken(_));
        if !closed || self.state.get() != State::Handshake {
            return None;
        }
        let step = self.dialogue.borrow().as_ref().and_then(Dialogue::awaited_step)?;
        // A server that hangs up at the first word may want TLS; a database it may just not have.
        (step == Step::Select || self.heard.get()).then_some(Failure::HungUp(step))
    }

    /// The lookup that still waits for this reply, or for what came before it.
    fn owed(self: &Rc<Self>, slot: Slot) -> Option<Rc<Lookup>> {
        let (lookup, is_owed) = match slot {
            Slot::Value(lookup) | Slot::Length(lookup) | Slot::Done { lookup, last: true } => {
                (lookup, true)
            }
            // Its first reply was read, its second is lost: ask for both again.
            Slot::Ttl(lookup) => {
                let has_first = lookup.value.take().is_some();
                (lookup, has_first)
            }
            Slot::Route(_)
            | Slot::Done { .. }
            | Slot::Pinged
            | Slot::Touched { .. }
            | Slot::Role => return None,
        };
        (is_owed && lookup.is_carried_by(self)).then_some(lookup)
    }

    /// Closes the connection without blame, and returns the lookups that it owes an answer.
    pub(in crate::module) fn abandon(self: &Rc<Self>) -> Vec<Rc<Lookup>> {
        let slots = self.slots.take();
        self.close();
        self.servers.forget(self);
        let owed: Vec<_> = slots.into_iter().filter_map(|slot| self.owed(slot)).collect();
        for lookup in &owed {
            if let Some(carrier) = lookup.drop_carrier() {
                carrier.connection.release();
            }
        }
        owed
    }

    /// The failure, by another name where a server ended a connection without TLS before it had said anything.
    fn without_a_word(&self, failure: &Failure) -> Failure {
        let may_want_tls = self.tls.is_none() && !self.target.name().starts_with("unix:");
        match failure {
            Failure::Closed if may_want_tls && !self.heard.get() => Failure::Unanswered(0),
            Failure::Broken(errno) if may_want_tls && !self.heard.get() => {
                Failure::Unanswered(*errno)
            }
            failure => failure.clone(),
        }
    }
}
