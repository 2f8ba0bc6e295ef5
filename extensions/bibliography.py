"""The list of references as a list for screen readers, too.

Docutils calls it a list whose entries are "doc-biblioentry", a role that is out of use and that a list may not hold.
"""


def mend_roles(app, pagename, templatename, context, doctree):
    """Give the entries of a list of citations the role of list items."""
    if 'class="citation-list"' in context.get("body", ""):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", mend_roles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
