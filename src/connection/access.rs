//! What a user may do in which channel: the rules of the channel's namespace, the lists of his token, and the two names of a
//! `dm:` channel. All three must agree.

use crate::{
    config::{Namespace, Namespaces, Who},
    connection::record::{Identity, Record},
    protocol::{
        error::{ErrorCode, Fault},
        name,
    },
    token::{self, Action},
};

/// The rules of all namespaces; `None` where every one of them lets everybody do everything, so that a publish need not
/// look its namespace up.
pub(crate) type Rules = Option<Namespaces>;

/// The rules that a configuration asks for.
pub(crate) fn rules(channels: &Namespaces) -> Rules {
    let mut all = channels.iter().map(|(_, namespace)| namespace).chain([channels.defaults()]);
    let open = all.all(|namespace| Action::ALL.iter().all(|action| rule(namespace, *action) == Who::Anyone));
    (!open).then(|| channels.clone())
}

/// Whether `record`'s user may do `action` in `channel`.
pub(crate) fn check(record: &Record, rules: &Rules, action: Action, channel: &str) -> Result<(), Fault> {
    let Some(identity) = &record.identity else {
        return Err(Fault::new(ErrorCode::NotIdentified, "identify first"));
    };
    if let Some(rules) = rules {
        check_rule(record, identity, rule(rules.of(channel), action), action, channel)?;
    }
    if let Some(grants) = identity.grants()
        && !token::allows(grants, action, channel)
    {
        return Err(forbidden(format!("this token does not open {channel} to {}", action.name())));
    }
    if let Some(pair) = name::direct(channel)
        && !pair.is_some_and(|(first, second)| identity.user == first || identity.user == second)
    {
        return Err(forbidden("a dm: channel is named after its two users in sorted order, and only they may enter"));
    }
    Ok(())
}

/// What a namespace says about an action.
fn rule(namespace: &Namespace, action: Action) -> Who {
    match action {
        Action::Subscribe => namespace.subscribe,
        Action::Publish => namespace.publish,
        Action::Join => namespace.join,
    }
}

fn check_rule(record: &Record, identity: &Identity, who: Who, action: Action, channel: &str) -> Result<(), Fault> {
    let action = action.name();
    match who {
        Who::Anyone => Ok(()),
        // Whether the token's lists name this very channel is looked at by the caller.
        Who::Claim if identity.grants().is_some() => Ok(()),
        Who::Subscriber if record.subscription(channel).is_some() => Ok(()),
        Who::Claim => Err(forbidden(format!("to {action} in {channel} needs a token that names it"))),
        Who::Subscriber => Err(forbidden(format!("to {action} in {channel}, subscribe to it first"))),
        Who::Nobody => Err(forbidden(format!("no client may {action} in {channel}"))),
    }
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(ErrorCode::Forbidden, message)
}
