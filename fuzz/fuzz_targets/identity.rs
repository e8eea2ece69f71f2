//! What anybody may send before it is known who they are: `Authorization`, `Cookie`, the form to sign
//! in, and, from the operator, the files of users and tokens. Nothing of it may panic, lead to
//! another host, or prove a session.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tailcast::serve::read_unknown(bytes);
    // Most forms name a place to go on to.
    tailcast::serve::read_unknown(&[b"next=/", bytes].concat());
});
