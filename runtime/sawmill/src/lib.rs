//! Write the equations of an LLM architecture; get its kernels.
