//! What works on this machine, found by using it.
