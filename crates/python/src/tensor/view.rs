//! Shapes and views.
