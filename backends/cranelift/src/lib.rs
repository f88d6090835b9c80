//! The default CPU backend: vector loops to machine code through Cranelift.
