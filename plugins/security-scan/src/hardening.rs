//! Settings of this machine that invite somebody in.
