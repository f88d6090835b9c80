//! The floor of sawmill: graph IR, tile IR, types, targets and the backend trait.
#![forbid(unsafe_code)]
