"""Starts the pages over a lake: one process that serves pages and pictures, by default to this machine only."""

import os
from pathlib import Path

import streamlit as st

from dashboards.pictures import routes
from schema.lake import Lake

LAKE_VARIABLE = "ROBOMIX_LAKE"
_COLOURS = ["#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#a16207", "#db2777"]
_THEME = {
    "theme.base": "light",
    "theme.primaryColor": "#0f766e",
    "theme.backgroundColor": "#ffffff",
    "theme.secondaryBackgroundColor": "#f4f6f8",
    "theme.textColor": "#17212b",
    "theme.borderColor": "#e2e6ea",
    "theme.baseRadius": "0.4rem",
    "theme.baseFontSize": 15,
    "theme.headingFontSizes": ["1.7rem", "1.25rem", "1.05rem"],
    "theme.metricValueFontSize": "1.6rem",
    "theme.paddingTop": "1.5rem",
    "theme.paddingBottom": "3rem",
    "theme.chartCategoricalColors": _COLOURS,
}


def serve(lake_uri: str, *, port: int = 8501, open_browser: bool = True) -> None:
    """Serve the pages of a lake on 127.0.0.1 until stopped; SchemaError where there is no lake.

    A busy port gives way to the next free one, which the message on the terminal names.
    """
    lake = Lake.open(lake_uri)
    os.environ[LAKE_VARIABLE] = lake.uri
    app = st.App(Path(__file__).with_name("app.py"), routes=routes(lake))
    app.run(
        config={
            "server.address": "127.0.0.1",
            "server.port": port,
            "server.headless": not open_browser,
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": False,
            "runner.magicEnabled": False,
            "client.toolbarMode": "minimal",
            **_THEME,
        }
    )
