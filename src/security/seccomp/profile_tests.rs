//! The program of a profile, run as the kernel runs it, against a plain evaluation of the profile.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::profile::FilterAction as Action;
use super::table::{self, CallTable, X32_BIT};
use super::*;
use crate::plan::filter::{FilteredCall, NATIVE, is_allowed, verdict};

/// Whether a condition holds, by the definition of its comparison.
fn holds(test: &ArgumentTest, arguments: [u64; 6], is_32_bit: bool) -> bool {
    let width = if is_32_bit { u64::from(u32::MAX) } else { u64::MAX };
    let [argument, value, two] =
        [arguments[usize::from(test.index)], test.value, test.value_two].map(|number| number & width);
    match test.op {
        Comparison::NotEqual => argument != value,
        Comparison::Less => argument < value,
        Comparison::AtMost => argument <= value,
        Comparison::Equal => argument == value,
        Comparison::AtLeast => argument >= value,
        Comparison::More => argument > value,
        Comparison::MaskedEqual => argument & value == two & value,
    }
}

/// Whether a rule matches: all conditions, or any of them if two are about the same argument.
fn matches(rule: &SeccompRule, arguments: [u64; 6], is_32_bit: bool) -> bool {
    let mut of_argument: BTreeMap<u8, usize> = BTreeMap::new();
    rule.args.iter().for_each(|test| *of_argument.entry(test.index).or_default() += 1);
    let mut each = rule.args.iter().map(|test| holds(test, arguments, is_32_bit));
    if of_argument.values().any(|count| *count > 1) {
        each.any(|holds| holds)
    } else {
        each.all(|holds| holds)
    }
}

/// Whether a rule has no condition that could be false: libseccomp leaves out a comparison of no bits.
fn is_always_true(rule: &SeccompRule, is_32_bit: bool) -> bool {
    let width = if is_32_bit { u64::from(u32::MAX) } else { u64::MAX };
    let compares = |test: &&ArgumentTest| test.op != Comparison::MaskedEqual || test.value & width != 0;
    let (all, count) = (rule.args.len(), rule.args.iter().filter(compares).count());
    let mut indexes: Vec<u8> = rule.args.iter().map(|test| test.index).collect();
    indexes.sort_unstable();
    let repeats = indexes.windows(2).any(|pair| pair[0] == pair[1]);
    if repeats { count < all } else { count == 0 }
}

/// The number of a name.
fn number_of(table: &CallTable, name: &str) -> Option<u32> {
    table.calls.iter().find(|call| call.name == name).map(|call| call.number)
}

/// What a profile decides about a call that has the name `name` in `table`.
fn plainly(profile: &SeccompProfile, table: &CallTable, name: &str, arguments: [u64; 6]) -> u32 {
    let default = profile.default_action.verdict(profile.default_errno_ret);
    let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|one| one == name));
    let rules: Vec<&SeccompRule> =
        rules.filter(|rule| rule.action.verdict(rule.errno_ret) != default).collect();
    let always = rules.iter().find(|rule| is_always_true(rule, table.is_32_bit));
    let first = always.or_else(|| rules.iter().find(|rule| matches(rule, arguments, table.is_32_bit)));
    if let Some(rule) = first {
        return rule.action.verdict(rule.errno_ret);
    }
    // A call that is newer than all named ones.
    let numbers =
        profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| number_of(table, name));
    let (last, number) = (numbers.max(), number_of(table, name).unwrap());
    let permits = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace);
    match last {
        Some(last) if number > last && !permits && profile.architectures.contains(&table.architecture) => {
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32
        }
        _ => default,
    }
}

/// Values near which comparisons change.
fn number() -> impl Strategy<Value = u64> {
    const NEAR: &[u64] = &[0, 1, 40, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (1 << 32) + 40, 1 << 63, u64::MAX];
    prop_oneof![
        (prop::sample::select(NEAR), 0..3_u64).prop_map(|(near, more)| near.wrapping_add(more)),
        any::<u64>()
    ]
}

const ACTIONS: [Action; 8] = [
    Action::Allow,
    Action::Errno,
    Action::Log,
    Action::Trap,
    Action::Trace,
    Action::Kill,
    Action::KillThread,
    Action::KillProcess,
];
const COMPARISONS: [Comparison; 7] = [
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::AtMost,
    Comparison::Equal,
    Comparison::AtLeast,
    Comparison::More,
    Comparison::MaskedEqual,
];
/// Calls of all tables, of few, and of none. Those of sockets are reached in two ways on i386, so they are tried by
/// themselves.
const NAMES: [&str; 8] =
    ["read", "openat", "mmap2", "clone", "ioctl", "arch_prctl", "no_such_call", "execve"];

fn test() -> impl Strategy<Value = ArgumentTest> {
    let op = prop::sample::select(&COMPARISONS[..]);
    (0..6_u8, number(), number(), op).prop_map(|(index, value, value_two, op)| ArgumentTest {
        index,
        value,
        value_two,
        op,
    })
}

fn rule() -> impl Strategy<Value = SeccompRule> {
    let names = prop::collection::vec(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1..4);
    let action = prop::sample::select(&ACTIONS[..]);
    (names, action, prop::option::of(0..4096_u16), prop::collection::vec(test(), 0..4))
        .prop_map(|(names, action, errno_ret, args)| SeccompRule { names, action, errno_ret, args })
}

fn profile() -> impl Strategy<Value = SeccompProfile> {
    let all = [
        FilterArchitecture::X8664,
        FilterArchitecture::X86,
        FilterArchitecture::X32,
        FilterArchitecture::Mips,
    ];
    let architectures = prop::sample::subsequence(all.to_vec(), 0..=4);
    let (action, errno) = (prop::sample::select(&ACTIONS[..]), prop::option::of(0..4096_u16));
    (action, errno, architectures, prop::collection::vec(rule(), 0..12)).prop_map(
        |(default_action, default_errno_ret, architectures, syscalls)| SeccompProfile {
            default_action,
            default_errno_ret,
            architectures,
            flags: Vec::new(),
            syscalls,
            other_architectures: Action::Kill,
            other_x32: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_decides_as_its_profile(
        profile in profile(),
        calls in prop::collection::vec((prop::sample::select(&NAMES[..]), prop::array::uniform6(number())), 24),
    ) {
        let program = compile::compile(&profile).unwrap();
        // The values of the profile too: random ones seldom meet them.
        let values = profile.syscalls.iter().flat_map(|rule| &rule.args).flat_map(|test| [test.value, test.value_two]);
        let values: Vec<u64> = values.collect();
        for table in &table::all() {
            for (round, (name, arguments)) in calls.iter().enumerate() {
                let mut arguments = *arguments;
                for (index, argument) in arguments.iter_mut().enumerate() {
                    if !values.is_empty() && (round + index) % 2 == 0 {
                        *argument = values[(round + index) % values.len()].wrapping_add(round as u64 % 3).wrapping_sub(1);
                    }
                }
                if let Some(number) = number_of(table, name) {
                    let decided = verdict(&program, &FilteredCall { number, architecture: table.audit, arguments });
                    let expected = match profile.lists(table.architecture) {
                        true => plainly(&profile, table, name, arguments),
                        false => libc::SECCOMP_RET_KILL_THREAD,
                    };
                    prop_assert_eq!(decided, expected, "{} {:?} {:?}", name, table.architecture, arguments);
                }
            }
        }
    }

    /// Every number of an architecture, also those of no call.
    #[test]
    fn a_number_without_a_rule_has_the_default_action(profile in profile(), number in any::<u32>()) {
        let program = compile::compile(&profile).unwrap();
        let decided = |number| {
            verdict(&program, &FilteredCall { number, architecture: NATIVE, arguments: [0; 6] })
        };
        let default = profile.default_action.verdict(profile.default_errno_ret);
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        for number in [number % X32_BIT, 600, X32_BIT - 1].into_iter().filter(|number| *number > 500) {
            prop_assert!([default, absent].contains(&decided(number)), "{number}");
        }
        prop_assert!([default, absent].contains(&decided(u32::MAX)));
        let other = verdict(&program, &FilteredCall { number, architecture: 0xc000_00f3, arguments: [0; 6] });
        prop_assert_eq!(other, libc::SECCOMP_RET_KILL_THREAD);
    }
}

fn allow(names: &[&str], args: Vec<ArgumentTest>) -> SeccompRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    SeccompRule { names, action: Action::Allow, errno_ret: None, args }
}

fn listed(syscalls: Vec<SeccompRule>) -> SeccompProfile {
    SeccompProfile {
        default_action: Action::Errno,
        default_errno_ret: Some(1),
        architectures: vec![FilterArchitecture::X8664, FilterArchitecture::X86],
        flags: vec![],
        syscalls,
        other_architectures: Action::Kill,
        other_x32: None,
    }
}

#[test]
fn a_call_of_a_socket_on_i386_is_reached_in_two_ways() {
    let family = ArgumentTest { index: 0, value: 40, value_two: 0, op: Comparison::NotEqual };
    let program =
        compile::compile(&listed(vec![allow(&["socket"], vec![family]), allow(&["connect"], vec![])]))
            .unwrap();
    let ask = |number, first| {
        let call = FilteredCall { number, architecture: 0x4000_0003, arguments: [first, 0, 0, 0, 0, 0] };
        is_allowed(verdict(&program, &call))
    };
    // socket(2) itself, and socketcall(2) with the number of socket, of connect and of bind.
    assert_eq!([ask(359, 2), ask(359, 40)], [true, false]);
    assert_eq!([ask(102, 1), ask(102, 3), ask(102, 2)], [true, true, false]);
}

#[test]
fn a_long_program_is_refused_and_a_large_one_jumps_far() {
    let test = |value| ArgumentTest { index: 1, value, value_two: 0, op: Comparison::Equal };
    let rules = |count: u64| (0..count).map(|value| allow(&["ioctl"], vec![test(value)])).collect();
    let program = compile::compile(&SeccompProfile { architectures: vec![], ..listed(rules(700)) }).unwrap();
    for (value, expected) in [(0, true), (699, true), (700, false)] {
        let arguments = [0, value, 0, 0, 0, 0];
        let number = libc::SYS_ioctl as u32;
        let call = FilteredCall { number, architecture: NATIVE, arguments };
        assert_eq!(is_allowed(verdict(&program, &call)), expected, "{value}");
        let other = FilteredCall { number: libc::SYS_getpid as u32, ..call };
        assert!(!is_allowed(verdict(&program, &other)));
    }
    assert!(compile::compile(&listed(rules(2000))).is_err_and(|length| length > 4096));
}

#[test]
fn unknown_names_are_counted_once() {
    let profile = listed(vec![
        allow(&["read", "no_such", "mmap2", "arm_fadvise64_64"], vec![]),
        allow(&["no_such"], vec![]),
    ]);
    assert_eq!(profile.unknown_names(), 2);
    // mmap2 is a call of i386 only.
    assert_eq!(SeccompProfile { architectures: vec![], ..profile }.unknown_names(), 3);
}

#[test]
fn a_profile_is_written_as_it_is_read() {
    let profile = SeccompProfile { flags: vec![FilterFlag::Log], ..calls::profile(&[]) };
    let written = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<SeccompProfile>(&written).unwrap(), profile);
}

#[test]
fn the_filter_of_init_allows_its_loop_only() {
    let program = compile::compile(&init::profile()).unwrap();
    let ask = |call, arguments| crate::plan::filter::allows(&program, call, arguments);
    for call in
        [libc::SYS_wait4, libc::SYS_rt_sigtimedwait, libc::SYS_kill, libc::SYS_exit_group, libc::SYS_capset]
    {
        assert!(ask(call, [0; 6]), "{call}");
    }
    for call in [
        libc::SYS_openat,
        libc::SYS_execve,
        libc::SYS_read,
        libc::SYS_ptrace,
        libc::SYS_socket,
        libc::SYS_clone,
    ] {
        assert!(!ask(call, [0; 6]), "{call}");
    }
    let map = |protection: i32| ask(libc::SYS_mmap, [0, 4096, protection as u64, 0, 0, 0]);
    assert!(map(libc::PROT_READ | libc::PROT_WRITE) && !map(libc::PROT_READ | libc::PROT_EXEC));
}
