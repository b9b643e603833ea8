//! A seccomp profile: which system calls are allowed, with which arguments. It has the shape and the terms of the OCI
//! runtime specification (`linux.seccomp`), and the meaning that runc and libseccomp give to them:
//!
//! - A rule whose action is the default action is left out.
//! - If a call has a rule without conditions, the first of these decides. Otherwise the first rule decides whose
//!   conditions all hold. Otherwise the default action does.
//! - If a rule has two conditions of the same argument, each of its conditions is a rule by itself.
//! - A call of an architecture that is not listed kills the thread. The native architecture is always listed.
//! - A call of a 32-bit architecture is compared by the low 32 bits of its arguments and values.
//! - If the profile lists architectures and its default action refuses, then a call with a higher number than all named
//!   ones fails with ENOSYS: it is newer than the profile, and a program should use an older call instead.
//! - A name that no table has is ignored.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::table::{self, CallTable};
use crate::text::text_with;

/// A profile without conditions about the container or the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompProfile {
    /// What happens to a call without a rule.
    pub default_action: FilterAction,
    /// The errno of the default action. Without it, EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u16>,
    /// The architectures that have rules, besides the native one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<FilterArchitecture>,
    /// The flags of seccomp(2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FilterFlag>,
    /// The rules.
    #[serde(default)]
    pub syscalls: Vec<SeccompRule>,
    /// What happens to a call of an architecture that is not listed. The specification has no such key.
    #[serde(default = "libseccomps", skip_serializing_if = "is_libseccomps")]
    pub other_architectures: FilterAction,
    /// The same for x32, if that differs. Its errno is that of the default action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_x32: Option<FilterAction>,
}

fn libseccomps() -> FilterAction {
    FilterAction::Kill
}

fn is_libseccomps(action: &FilterAction) -> bool {
    *action == libseccomps()
}

/// What the kernel does with calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompRule {
    /// The calls.
    pub names: Vec<String>,
    /// The action.
    pub action: FilterAction,
    /// The errno of the action. Without it, EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u16>,
    /// Conditions of the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgumentTest>,
}

/// A condition of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgumentTest {
    /// The argument, from 0 to 5.
    #[serde(deserialize_with = "index")]
    pub index: u8,
    /// What it is compared with. With SCMP_CMP_MASKED_EQ, the bits that are compared.
    pub value: u64,
    /// With SCMP_CMP_MASKED_EQ, what these bits are compared with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// The comparison.
    pub op: Comparison,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        index @ 0..=5 => Ok(index),
        _ => Err(serde::de::Error::custom(text_with("spec.range", &[("least", "0"), ("most", "5")]))),
    }
}

macro_rules! names {
    ($(#[$about:meta])* $kind:ident, $refused:expr, { $($name:literal $variant:ident $meaning:literal),* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
        pub enum $kind {
            $(#[doc = $meaning] #[schemars(rename = $name)] $variant,)*
        }

        impl $kind {
            const NAMES: &[&str] = &[$($name),*];

            /// The name in a profile.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                }
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let refused: &[&str] = $refused;
                match &*String::deserialize(deserializer)? {
                    $($name => Ok($kind::$variant),)*
                    other if refused.contains(&other) => {
                        let reason = text_with("seccomp.refused", &[("name", other)]);
                        Err(serde::de::Error::custom(reason))
                    }
                    other => Err(serde::de::Error::unknown_variant(other, $kind::NAMES)),
                }
            }
        }
    };
}

names! {
    /// What the kernel does with a call. seccomp(2)
    FilterAction, &["SCMP_ACT_NOTIFY"], {
        "SCMP_ACT_ALLOW" Allow "The call is made.",
        "SCMP_ACT_ERRNO" Errno "The call fails with an errno.",
        "SCMP_ACT_LOG" Log "The call is made, and written to the kernel's log.",
        "SCMP_ACT_TRAP" Trap "The thread gets SIGSYS, which it can handle.",
        "SCMP_ACT_TRACE" Trace "A tracer decides. Without a tracer, the call fails with ENOSYS.",
        "SCMP_ACT_KILL" Kill "The same as `KillThread`, under its old name.",
        "SCMP_ACT_KILL_THREAD" KillThread "The thread is killed.",
        "SCMP_ACT_KILL_PROCESS" KillProcess "The process is killed."
    }
}

names! {
    /// How an argument is compared. The numbers are unsigned.
    Comparison, &[], {
        "SCMP_CMP_NE" NotEqual "Another value.",
        "SCMP_CMP_LT" Less "A smaller value.",
        "SCMP_CMP_LE" AtMost "The same value or a smaller one.",
        "SCMP_CMP_EQ" Equal "The same value.",
        "SCMP_CMP_GE" AtLeast "The same value or a larger one.",
        "SCMP_CMP_GT" More "A larger value.",
        "SCMP_CMP_MASKED_EQ" MaskedEqual "Some of its bits have the same value."
    }
}

names! {
    /// A flag of seccomp(2).
    FilterFlag,
    &[
        "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        "SECCOMP_FILTER_FLAG_TSYNC_ESRCH",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ],
    {
        "SECCOMP_FILTER_FLAG_LOG" Log "All actions except allow are written to the kernel's log, if the machine logs them.",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" SpecAllow "The filter does not turn on the mitigation of speculative store bypass.",
        "SECCOMP_FILTER_FLAG_TSYNC" Tsync "All threads get the filter. The command has only one when it begins."
    }
}

names! {
    /// An architecture of calls. Those of other machines are accepted, and mean nothing here.
    FilterArchitecture, &[], {
        "SCMP_ARCH_X86_64" X8664 "x86_64.",
        "SCMP_ARCH_X86" X86 "i386.",
        "SCMP_ARCH_X32" X32 "x86_64 with 32-bit pointers.",
        "SCMP_ARCH_AARCH64" Aarch64 "64-bit ARM.",
        "SCMP_ARCH_ARM" Arm "32-bit ARM.",
        "SCMP_ARCH_LOONGARCH64" Loongarch64 "Of another machine.",
        "SCMP_ARCH_M68K" M68k "Of another machine.",
        "SCMP_ARCH_MIPS" Mips "Of another machine.",
        "SCMP_ARCH_MIPS64" Mips64 "Of another machine.",
        "SCMP_ARCH_MIPS64N32" Mips64n32 "Of another machine.",
        "SCMP_ARCH_MIPSEL" Mipsel "Of another machine.",
        "SCMP_ARCH_MIPSEL64" Mipsel64 "Of another machine.",
        "SCMP_ARCH_MIPSEL64N32" Mipsel64n32 "Of another machine.",
        "SCMP_ARCH_PARISC" Parisc "Of another machine.",
        "SCMP_ARCH_PARISC64" Parisc64 "Of another machine.",
        "SCMP_ARCH_PPC" Ppc "Of another machine.",
        "SCMP_ARCH_PPC64" Ppc64 "Of another machine.",
        "SCMP_ARCH_PPC64LE" Ppc64le "Of another machine.",
        "SCMP_ARCH_RISCV64" Riscv64 "Of another machine.",
        "SCMP_ARCH_S390" S390 "Of another machine.",
        "SCMP_ARCH_S390X" S390x "Of another machine.",
        "SCMP_ARCH_SH" Sh "Of another machine.",
        "SCMP_ARCH_SHEB" Sheb "Of another machine."
    }
}

impl FilterAction {
    /// SECCOMP_RET_*, with the errno.
    pub(super) fn verdict(self, errno: Option<u16>) -> u32 {
        let data = errno.map_or(libc::EPERM as u32, u32::from);
        match self {
            FilterAction::Allow => libc::SECCOMP_RET_ALLOW,
            FilterAction::Errno => libc::SECCOMP_RET_ERRNO | data,
            FilterAction::Log => libc::SECCOMP_RET_LOG,
            FilterAction::Trap => libc::SECCOMP_RET_TRAP,
            FilterAction::Trace => libc::SECCOMP_RET_TRACE | data,
            FilterAction::Kill | FilterAction::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            FilterAction::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }

    /// Whether the default action refuses calls. A tracer can make a call that the profile does not know.
    fn refuses(self) -> bool {
        !matches!(self, FilterAction::Allow | FilterAction::Log | FilterAction::Trace)
    }
}

impl FilterFlag {
    /// Its bit. linux/seccomp.h
    pub fn bit(self) -> u64 {
        match self {
            FilterFlag::Tsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
            FilterFlag::Log => libc::SECCOMP_FILTER_FLAG_LOG,
            FilterFlag::SpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        }
    }
}

impl ArgumentTest {
    /// The condition for a comparison of 32 bits.
    pub(super) fn narrow(self) -> ArgumentTest {
        let low = |value: u64| value & u64::from(u32::MAX);
        ArgumentTest { value: low(self.value), value_two: low(self.value_two), ..self }
    }

    /// Whether it compares no bit at all.
    pub(super) fn always_holds(&self) -> bool {
        self.op == Comparison::MaskedEqual && self.value == 0
    }
}

/// One rule for one call of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// Conditions that must all hold.
    pub(super) tests: Vec<ArgumentTest>,
    /// Whether only the low 32 bits of the arguments are compared.
    pub(super) is_32_bit: bool,
    /// What is decided then: SECCOMP_RET_*.
    pub(super) verdict: u32,
}

/// The rules of each name, by their places in the profile.
pub(super) type RulesByName<'a> = HashMap<&'a str, Vec<usize>>;

impl SeccompProfile {
    /// SECCOMP_RET_* of the default action.
    pub(super) fn default_verdict(&self) -> u32 {
        self.default_action.verdict(self.default_errno_ret)
    }

    /// SECCOMP_RET_* for calls of an architecture that is not listed.
    pub(super) fn other_verdict(&self, is_x32: bool) -> u32 {
        let action = self.other_x32.filter(|_| is_x32).unwrap_or(self.other_architectures);
        action.verdict(self.default_errno_ret)
    }

    /// What a number decides that is higher than all named ones.
    pub(super) fn newer_verdict(&self, architecture: FilterArchitecture) -> u32 {
        match self.default_action.refuses() && self.architectures.contains(&architecture) {
            true => FilterAction::Errno.verdict(Some(libc::ENOSYS as u16)),
            false => self.default_verdict(),
        }
    }

    /// Whether calls of this architecture have rules.
    pub(super) fn lists(&self, architecture: FilterArchitecture) -> bool {
        architecture == table::NATIVE || self.architectures.contains(&architecture)
    }

    /// The rules of each name.
    pub(super) fn by_name(&self) -> RulesByName<'_> {
        let mut rules = RulesByName::new();
        for (place, rule) in self.syscalls.iter().enumerate() {
            for name in &rule.names {
                rules.entry(name).or_default().push(place);
            }
        }
        rules
    }

    /// The cases of each call that has a rule, in the order of the profile. A rule of the default action has no case.
    pub(super) fn cases(&self, table: &CallTable, rules: &RulesByName<'_>) -> BTreeMap<u32, Vec<Case>> {
        let mut found: Vec<(u32, usize, Option<ArgumentTest>)> = Vec::new();
        for call in &table.calls {
            let places = rules.get(call.name).into_iter().flatten();
            found.extend(places.map(|place| (call.number, *place, call.test)));
        }
        found.sort_by_key(|(number, place, _)| (*number, *place));
        let mut cases: BTreeMap<u32, Vec<Case>> = BTreeMap::new();
        for (number, place, first) in found {
            cases.entry(number).or_default().extend(self.cases_of(&self.syscalls[place], table, first));
        }
        cases
    }

    /// The cases of a rule. If its call does the work of several ones, `first` is the condition of the first argument.
    fn cases_of(&self, rule: &SeccompRule, table: &CallTable, first: Option<ArgumentTest>) -> Vec<Case> {
        let (verdict, is_32_bit) = (rule.action.verdict(rule.errno_ret), table.is_32_bit);
        if verdict == self.default_verdict() {
            return Vec::new();
        }
        let case = |mut tests: Vec<ArgumentTest>| {
            if let Some(first) = first {
                tests.retain(|test| test.index != 0);
                tests.push(first);
            }
            if is_32_bit {
                tests.iter_mut().for_each(|test| *test = test.narrow());
            }
            tests.retain(|test| !test.always_holds());
            Case { tests, is_32_bit, verdict }
        };
        alternatives(&rule.args).into_iter().map(case).collect()
    }

    /// How many names of calls no table of the listed architectures has.
    pub(super) fn unknown_names(&self) -> usize {
        let mut rules = self.by_name();
        for table in table::all().iter().filter(|table| self.lists(table.architecture)) {
            table.calls.iter().for_each(|call| drop(rules.remove(call.name)));
        }
        rules.len()
    }
}

/// The conditions of a rule: all together, or each by itself if two of them are about the same argument.
fn alternatives(tests: &[ArgumentTest]) -> Vec<Vec<ArgumentTest>> {
    let repeats = |test: &ArgumentTest| tests.iter().filter(|other| other.index == test.index).count() > 1;
    match tests.iter().any(repeats) {
        true => tests.iter().map(|test| vec![*test]).collect(),
        false => vec![tests.to_vec()],
    }
}
