"""Pure charts: tables in, a chart or what the player draws out, nothing of Streamlit."""
