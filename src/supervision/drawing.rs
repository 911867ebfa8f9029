//! The tree as text, from the specs its supervisors and actors were started with, so that no drawing can be older than the
//! code. Siblings that differ in their number alone are drawn once.

use std::fmt::Write as _;

use super::{
    ChildSpec,
    supervisor::{Member, Supervisor},
};

/// A line of the drawing and what hangs below it.
struct Twig {
    text: String,
    below: Vec<Twig>,
}

pub(super) fn draw(root: &Supervisor) -> String {
    let mut text = String::new();
    draw_twig(&supervisor(root), "", "", &mut text);
    text
}

fn supervisor(supervisor: &Supervisor) -> Twig {
    let mut below: Vec<Twig> = Vec::new();
    let members = supervisor.members();
    let numbered = |at: usize| match members.get(at) {
        Some(Member::Actor(line)) => number(&line.spec.name).map(|(kind, _)| kind),
        _ => None,
    };
    for (at, member) in members.iter().enumerate() {
        match member {
            Member::Supervisor(branch) => below.push(self::supervisor(branch)),
            Member::Actor(line) => match number(&line.spec.name) {
                Some((kind, _)) if at > 0 && numbered(at - 1) == Some(kind) => {}
                Some((kind, _)) => below.push(actor(&format!("{kind}0 … {kind}n"), &line.spec)),
                None => below.push(actor(&line.spec.name, &line.spec)),
            },
        }
    }
    Twig { text: format!("{} ({})", supervisor.spec.name, supervisor.spec), below }
}

fn actor(name: &str, spec: &ChildSpec) -> Twig {
    let part = |part: &super::Part| Twig { text: format!("{}: {}", part.name, part.how), below: Vec::new() };
    Twig { text: format!("{name} ({spec})"), below: spec.parts.iter().map(part).collect() }
}

/// `shard-3` is the kind `shard-` and 3.
fn number(name: &str) -> Option<(&str, u32)> {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((kind, name[kind.len()..].parse().ok()?))
}

fn draw_twig(twig: &Twig, first: &str, rest: &str, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{first}{}", twig.text);
    for (at, below) in twig.below.iter().enumerate() {
        let (branch, stem) = if at + 1 == twig.below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw_twig(below, &format!("{rest}{branch}"), &format!("{rest}{stem}"), text);
    }
}
