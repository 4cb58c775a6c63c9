"""The pages: layout only, each a script that Streamlit runs."""
