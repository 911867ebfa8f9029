//! Judges the attacks: a row for each, with what the attackers were answered and what the bystanders noticed, then what must
//! never be, over all of them. Times are judged only where a machine is quiet enough to measure them.

use std::time::Duration;

use crate::{
    histogram::Histogram,
    report::{Report, Unit, grouped, short},
    siege::Evidence,
};

/// Bystanders' p99 under an attack may be so many times the one without.
const P99_RATIO: f64 = 1.10;

/// Fills the table; `timed`: the bystanders' times are part of the promise.
pub(crate) fn judge(all: &[Evidence], timed: bool, report: &mut Report) {
    let mut slower = 0;
    for evidence in all {
        let answers = answers(evidence);
        if !timed {
            report.text(evidence.attack.name, if is_right(evidence) { "ok" } else { "WRONG" }, answers);
            continue;
        }
        let ratios = ratios(evidence);
        let median = median(&ratios);
        slower += u64::from(median > P99_RATIO && !evidence.attack.elsewhere);
        let (calm, hot) = (sum(&evidence.calm), sum(&evidence.hot));
        let [[p50, p50_hot], [p99, p99_hot]] = [0.5, 0.99].map(|q| [&calm, &hot].map(|of| of.quantile(q)));
        let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let note = format!(
            "p50 {} → {}, p99 {} → {} ({:.2} ×), rounds {}; {}; server {} cores, attackers {:.2}",
            short(p50),
            short(p50_hot),
            short(p99),
            short(p99_hot),
            ratio(p99_hot, p99),
            shown.join(" "),
            answers,
            [&evidence.calm_load, &evidence.hot_load]
                .map(|load| format!("{:.2}", cores(load.server, load.wall)))
                .join(" → "),
            cores(evidence.hot_load.own, evidence.hot_load.wall),
        );
        report.goal(evidence.attack.name, median, Unit::Ratio, P99_RATIO, note);
    }
    let wrong: Vec<&str> = all.iter().filter(|one| !is_right(one)).map(|one| one.attack.name).collect();
    let right = (all.len() - wrong.len()) as u64;
    report.must_be("attackers answered as they should be", right, all.len() as u64, wrong.join(", "));
    let of = |count: fn(&Evidence) -> u64| all.iter().map(count).sum::<u64>();
    let first = |count: fn(&Evidence) -> u64| {
        let told = all.iter().filter(|one| count(one) > 0);
        told.map(|one| format!("{}: {}", one.attack.name, one.account.complaint)).next().unwrap_or_default()
    };
    let mut never = |name, count: fn(&Evidence) -> u64| report.must_be(name, of(count), 0, first(count));
    never("bystanders disconnected", |one| one.account.closed_bystanders + one.account.closed_others);
    never("bystanders not there at the end", |one| (one.bystanders as u64 + 1).saturating_sub(one.account.open));
    never("bystanders restarted", |one| one.account.restarted_bystanders + one.account.restarted_victims);
    never("events lost", |one| one.account.missed);
    never("events doubled or out of order", |one| one.account.doubled + one.account.disordered);
    never("gaps and error frames", |one| one.account.gaps + one.account.errors);
    let heard = of(|one| one.account.received);
    report.must_be(
        "events heard",
        heard,
        of(|one| one.account.expected),
        "by the bystanders, of so many published to them",
    );
    if timed {
        report.must_be("attacks that bystanders notice", slower, 0, "p99 more than 1.10 ×, median of the rounds");
    }
}

/// One of the right answers came, and no other than may come.
fn is_right(evidence: &Evidence) -> bool {
    let (attack, answers) = (evidence.attack, &evidence.answers);
    let known = |answer: &str| attack.right.contains(&answer) || attack.also.contains(&answer);
    attack.right.iter().any(|right| answers.contains_key(*right)) && answers.keys().all(|answer| known(answer))
}

/// The most frequent first.
fn answers(evidence: &Evidence) -> String {
    let mut answers: Vec<(&String, &u64)> = evidence.answers.iter().collect();
    answers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<String> =
        answers.iter().map(|(answer, count)| format!("{} × {answer}", grouped(**count as f64))).collect();
    if shown.is_empty() { "no answer".to_owned() } else { shown.join(", ") }
}

fn sum(phases: &[Histogram]) -> Histogram {
    phases.iter().fold(Histogram::new(), |mut sum, phase| {
        sum.add(phase);
        sum
    })
}

fn ratios(evidence: &Evidence) -> Vec<f64> {
    let rounds = evidence.calm.iter().zip(&evidence.hot);
    rounds.map(|(calm, hot)| ratio(hot.quantile(0.99), calm.quantile(0.99))).collect()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(f64::EPSILON)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

fn cores(used: Duration, wall: Duration) -> f64 {
    used.as_secs_f64() / wall.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{answers::Answers, arsenal, chaos_judge::Phases, chaos_witness::Account};

    fn evidence(answers: &[(&str, u64)]) -> Evidence {
        Evidence {
            attack: arsenal::find("frames").unwrap(),
            answers: answers.iter().map(|(answer, count)| ((*answer).to_owned(), *count)).collect::<Answers>(),
            account: Account { open: 9, ..Account::default() },
            calm: Vec::new(),
            hot: Vec::new(),
            calm_load: Phases::default(),
            hot_load: Phases::default(),
            bystanders: 8,
        }
    }

    #[test]
    fn the_right_answer_must_come_and_no_other_may() {
        for (answers, right) in [
            (&[("101", 4), ("close 4004", 1)][..], true),
            (&[("101", 4), ("heartbeat_ack", 9)], false),
            (&[("close 4004", 4), ("close 1011", 1)], false),
            (&[], false),
        ] {
            let evidence = evidence(answers);
            assert_eq!(is_right(&evidence), right, "{answers:?}");
            let mut report = Report::new("test");
            judge(&[evidence], false, &mut report);
            assert_eq!(report.held(), right, "{answers:?}");
        }
    }

    #[test]
    fn answers_are_told_with_the_most_frequent_first() {
        assert_eq!(answers(&evidence(&[("101", 4), ("close 4004", 1_200)])), "1,200 × close 4004, 4 × 101");
        assert_eq!(answers(&evidence(&[])), "no answer");
    }

    #[test]
    fn a_median_of_rounds_is_their_middle() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0])), (2.0, 1.5));
        assert!(median(&[]).is_nan());
    }
}
