//! The local time zone, which the C library reads: from TZ, or else from /etc/localtime.

/// How many seconds local time is ahead of UTC at a moment, in seconds since 1970, and the name of the zone then. None: the year
/// of the moment is too large.
pub(crate) fn at(seconds: i64) -> Option<(i64, String)> {
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: localtime_r reads one time and writes one struct, which both live here. It returns null where it wrote none.
    let made = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
    if made.is_null() {
        return None;
    }
    // SAFETY: localtime_r has filled it in, also `tm_zone`: a string that the C library keeps until the zone changes, and nothing
    // here changes it.
    let (offset, name) = unsafe {
        let broken_down = broken_down.assume_init();
        (broken_down.tm_gmtoff, std::ffi::CStr::from_ptr(broken_down.tm_zone))
    };
    Some((offset, name.to_string_lossy().into_owned()))
}
