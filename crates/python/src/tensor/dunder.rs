//! Python protocols.
