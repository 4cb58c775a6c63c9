"""Pure queries over a lake: Polars and Arrow out, nothing of Streamlit."""
