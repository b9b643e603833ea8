//! Makes the program of a filter from a profile.
//!
//! The program first checks the architecture. Each architecture has a part of its own, because its calls have other
//! numbers. A part finds the number of the call by binary search: neighbouring numbers with the same decision form a
//! run. With a linear search, the last calls would need hundreds of comparisons. The kernel also runs the filter for each
//! number when it is installed. Where arguments decide, the end of the search is a block of comparisons, which always
//! returns.

use super::profile::{ArgumentTest, Case, Comparison, FilterArchitecture, RulesByName, SeccompProfile};
use super::table::{self, CallTable, X32_BIT};
use crate::plan::filter::{
    AND, ARCHITECTURE, ARGUMENTS, FilterInstruction, IF_AT_LEAST, IF_EQUAL, IF_MORE, JUMP, LOAD,
    MAX_INSTRUCTIONS, NUMBER, RETURN,
};

/// The program of a profile, one word for each instruction.
///
/// # Errors
/// The kernel accepts no program of this length.
pub(super) fn compile(profile: &SeccompProfile) -> Result<Vec<u64>, usize> {
    let rules = profile.by_name();
    let mut program = vec![FilterInstruction::new(LOAD, ARCHITECTURE)];
    for table in table::all() {
        if table.is_x32() || !profile.lists(table.architecture) {
            continue;
        }
        let mut runs = runs(profile, &table, &rules);
        if let Some(x32) = table.x32_beside() {
            match profile.lists(FilterArchitecture::X32) {
                true => runs.extend(self::runs(profile, &x32, &rules)),
                false => runs.push((X32_BIT, Decision::of(profile.other_verdict(true)))),
            }
            // A tracer skips a call by the number -1.
            runs.push((u32::MAX, Decision::of(profile.default_verdict())));
        }
        let mut part = vec![FilterInstruction::new(LOAD, NUMBER)];
        part.extend(search(&merged(runs)));
        program.push(FilterInstruction::test(IF_EQUAL, 1, 0, table.audit));
        program.push(FilterInstruction::new(JUMP, part.len() as u32));
        program.extend(part);
    }
    program.push(FilterInstruction::new(RETURN, profile.other_verdict(false)));
    match program.len() {
        ..=MAX_INSTRUCTIONS => Ok(program.iter().map(FilterInstruction::word).collect()),
        length => Err(length),
    }
}

/// What is decided about a number: the first case whose conditions hold. The last one has no conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decision(Vec<Case>);

impl Decision {
    /// The same decision for all arguments.
    fn of(verdict: u32) -> Decision {
        Decision(vec![Case { tests: Vec::new(), is_32_bit: false, verdict }])
    }

    /// The decision by these cases.
    fn by(mut cases: Vec<Case>, default: u32) -> Decision {
        match cases.iter().find(|case| case.tests.is_empty()) {
            Some(always) => Decision::of(always.verdict),
            None => {
                cases.extend(Decision::of(default).0);
                Decision(cases)
            }
        }
    }
}

/// The first number and the decision of each run, in order.
fn runs(profile: &SeccompProfile, table: &CallTable, rules: &RulesByName<'_>) -> Vec<(u32, Decision)> {
    let default = profile.default_verdict();
    let mut all = vec![(table.first(), Decision::of(default))];
    let cases = profile.cases(table, rules);
    let last = cases.keys().last().copied();
    for (number, cases) in cases {
        all.push((number, Decision::by(cases, default)));
        all.push((number + 1, Decision::of(default)));
    }
    if let Some(last) = last {
        all.push((last + 1, Decision::of(profile.newer_verdict(table.architecture))));
    }
    all
}

/// The runs, without those that another one of the same number replaces, or that decide as the one before.
fn merged(runs: Vec<(u32, Decision)>) -> Vec<(u32, Decision)> {
    let mut merged: Vec<(u32, Decision)> = Vec::new();
    for (number, decision) in runs {
        merged.pop_if(|(first, _)| *first == number);
        if merged.last().is_none_or(|(_, before)| *before != decision) {
            merged.push((number, decision));
        }
    }
    merged
}

/// Finds the decision for the number in the register.
fn search(runs: &[(u32, Decision)]) -> Vec<FilterInstruction> {
    if let [(_, Decision(cases))] = runs {
        return cases.iter().flat_map(block).collect();
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let first = high[0].0;
    let (low, high) = (search(low), search(high));
    let mut program = match u8::try_from(low.len()) {
        Ok(length) => vec![FilterInstruction::test(IF_AT_LEAST, length, 0, first)],
        // The distance of a conditional jump is one byte.
        Err(_) => vec![
            FilterInstruction::test(IF_AT_LEAST, 0, 1, first),
            FilterInstruction::new(JUMP, low.len() as u32),
        ],
    };
    program.extend(low);
    program.extend(high);
    program
}

/// Returns the verdict of a case if its conditions hold, otherwise goes on behind its end.
fn block(case: &Case) -> Vec<FilterInstruction> {
    let mut block = vec![FilterInstruction::new(RETURN, case.verdict)];
    for test in case.tests.iter().rev() {
        let compare = if case.is_32_bit { compare_32 } else { compare_64 };
        let mut longer = compare(test, block.len() as u8);
        longer.append(&mut block);
        block = longer;
    }
    block
}

/// Compares the low half of an argument: goes on behind its end if the condition holds, otherwise skips `rest`
/// instructions more.
fn compare_32(test: &ArgumentTest, rest: u8) -> Vec<FilterInstruction> {
    let load = FilterInstruction::new(LOAD, ARGUMENTS + 8 * u32::from(test.index));
    let [_, value] = halves(test.value);
    let (is, is_not) = (|code| (code, 0, rest), |code| (code, rest, 0));
    let (code, if_true, if_false) = match test.op {
        Comparison::MaskedEqual => {
            let [_, wanted] = halves(test.value & test.value_two);
            let end = FilterInstruction::test(IF_EQUAL, 0, rest, wanted);
            return vec![load, FilterInstruction::new(AND, value), end];
        }
        Comparison::Equal => is(IF_EQUAL),
        Comparison::NotEqual => is_not(IF_EQUAL),
        Comparison::More => is(IF_MORE),
        Comparison::AtLeast => is(IF_AT_LEAST),
        Comparison::AtMost => is_not(IF_MORE),
        Comparison::Less => is_not(IF_AT_LEAST),
    };
    vec![load, FilterInstruction::test(code, if_true, if_false, value)]
}

/// The same for the whole argument. The register has 32 bits, so the high half and the low half are compared one after the
/// other.
fn compare_64(test: &ArgumentTest, rest: u8) -> Vec<FilterInstruction> {
    let place = ARGUMENTS + 8 * u32::from(test.index);
    let [high, low] = halves(test.value);
    let load_high = FilterInstruction::new(LOAD, place + 4);
    let load_low = FilterInstruction::new(LOAD, place);
    let is = FilterInstruction::test;
    match test.op {
        Comparison::Equal => {
            vec![load_high, is(IF_EQUAL, 0, rest + 2, high), load_low, is(IF_EQUAL, 0, rest, low)]
        }
        Comparison::NotEqual => {
            vec![load_high, is(IF_EQUAL, 0, 2, high), load_low, is(IF_EQUAL, rest, 0, low)]
        }
        Comparison::MaskedEqual => {
            let [mask_high, mask_low] = [high, low];
            let [high, low] = halves(test.value & test.value_two);
            vec![
                load_high,
                FilterInstruction::new(AND, mask_high),
                is(IF_EQUAL, 0, rest + 3, high),
                load_low,
                FilterInstruction::new(AND, mask_low),
                is(IF_EQUAL, 0, rest, low),
            ]
        }
        Comparison::More | Comparison::AtLeast => {
            let last = if test.op == Comparison::More { IF_MORE } else { IF_AT_LEAST };
            vec![
                load_high,
                is(IF_MORE, 3, 0, high),
                is(IF_EQUAL, 0, rest + 2, high),
                load_low,
                is(last, 0, rest, low),
            ]
        }
        Comparison::Less | Comparison::AtMost => {
            let last = if test.op == Comparison::AtMost { IF_MORE } else { IF_AT_LEAST };
            vec![
                load_high,
                is(IF_MORE, rest + 3, 0, high),
                is(IF_EQUAL, 0, 2, high),
                load_low,
                is(last, rest, 0, low),
            ]
        }
    }
}

fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}
