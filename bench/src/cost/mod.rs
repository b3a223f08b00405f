//! What a server process cost, seen from outside.
