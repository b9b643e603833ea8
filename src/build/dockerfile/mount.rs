//! `RUN --mount=type=TYPE,KEY=VALUE,...`.

/// What `RUN --mount` mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// What kind of mount it is, and what only this kind has.
    pub kind: RunMountKind,
    /// `target`: where it is mounted. A secret without one is at `/run/secrets/ID`.
    pub target: Option<String>,
    /// Whether it is mounted read-only. Without `ro` and `rw`, `bind` and `secret` are.
    pub read_only: bool,
}

/// The kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// `bind`: files of the context, of a stage or of an image.
    Bind {
        /// `from`: a stage or an image. Without it, it is the context.
        from: Option<String>,
        /// `source`: the path there.
        source: String,
    },
    /// `cache`: a directory that stays from build to build.
    Cache {
        /// `id`: its name. Without one, it is the target.
        id: Option<String>,
        /// `sharing`.
        sharing: CacheSharing,
        /// `from`: a stage or an image with the first content.
        from: Option<String>,
        /// `source`: the path there.
        source: String,
        /// `mode`, `uid` and `gid` of the directory.
        owner: MountOwner,
    },
    /// `tmpfs`: an empty directory in memory.
    Tmpfs {
        /// `size`: the maximum size, in bytes.
        size: Option<u64>,
    },
    /// `secret`: a file of `build --secret` that is in no layer.
    Secret {
        /// `id`: its name in `build --secret`.
        id: String,
        /// `required`: the step fails if there is no such secret.
        required: bool,
        /// `env`: it is an environment variable of this name too, or instead.
        env: Option<String>,
        /// `mode`, `uid` and `gid` of the file.
        owner: MountOwner,
    },
}

/// Who may use a `cache` at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSharing {
    /// `shared`: several builds.
    #[default]
    Shared,
    /// `private`: each build gets one of its own.
    Private,
    /// `locked`: a second build waits.
    Locked,
}

/// The mode and the owner of what is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOwner {
    /// `mode`, an octal number.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
}
