"""Streamlit pages over a lake."""
