"""The pages and how to get from one to the other. `robomix dash LAKE` runs it (`dashboards.serve`)."""

from pathlib import Path

import streamlit as st

from dashboards.parts import EPISODE_PAGE, OVERVIEW_PAGE

ICON = Path(__file__).with_name("icon.svg")
SIDEBAR_PX = 210

st.set_page_config(page_title="robomix", page_icon=str(ICON), layout="wide", initial_sidebar_state=SIDEBAR_PX)
st.navigation(
    [
        st.Page(OVERVIEW_PAGE, title="Overview", icon=":material/grid_view:", default=True),
        st.Page(EPISODE_PAGE, title="Episodes", icon=":material/movie:", url_path="episode"),
    ],
    position="top",
).run()
