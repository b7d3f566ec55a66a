//! The first step of every call: may the principal do this?

use crate::error::Error;
use crate::principal::{Action, Principal, PrincipalKind};
use entail_decision::name::ScopePath;

/// Checks that `principal` may do this in `scope`. Whether the scope exists makes no
/// difference, so a refusal does not tell.
pub(crate) fn authorize(
    principal: &Principal,
    action: Action,
    scope: &ScopePath,
) -> Result<(), Error> {
    check(principal, action, Some(scope))
}

/// Checks that `principal` may do this in the whole installation.
pub(crate) fn authorize_whole(principal: &Principal, action: Action) -> Result<(), Error> {
    check(principal, action, None)
}

fn check(principal: &Principal, action: Action, scope: Option<&ScopePath>) -> Result<(), Error> {
    let may = match principal.kind() {
        PrincipalKind::Local => true,
        PrincipalKind::Project => {
            matches!(action, Action::View | Action::Resolve)
                && scope.is_some_and(|scope| principal.holds(scope.as_str()))
        }
    };
    if may {
        return Ok(());
    }
    Err(Error::NotAuthorized {
        principal: principal.clone(),
        action,
        scope: scope.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_resolves_and_views_its_scope_and_those_below_it_and_nothing_else() {
        let evals = Principal::project(&"acme/evals".parse().unwrap());
        let actions = [
            Action::View,
            Action::Resolve,
            Action::Change,
            Action::Administer,
        ];
        for action in actions {
            let is_reading = matches!(action, Action::View | Action::Resolve);
            for (scope, is_own) in [
                (Some("acme/evals"), true),
                (Some("acme/evals/nightly"), true),
                (Some("acme"), false),
                (Some("acme/agents"), false),
                (Some("acme/evalset"), false),
                (Some("globex"), false),
                (None, false),
            ] {
                let path: Option<ScopePath> = scope.map(|scope| scope.parse().unwrap());
                let check = |principal| match &path {
                    Some(path) => authorize(principal, action, path),
                    None => authorize_whole(principal, action),
                };
                let may = check(&evals).is_ok();
                assert_eq!(may, is_reading && is_own, "{action} {scope:?}");
                assert!(check(&Principal::LocalOwner).is_ok(), "{action} {scope:?}");
            }
        }
    }
}
