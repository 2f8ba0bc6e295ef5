"""What tests of figures in a browser do: drag, and read what a slider says."""


def value_text(slider):
    return slider.get_attribute("aria-valuetext")


def drag(page, target, start, end):
    """Drag inside ``target`` from one place to another, given as fractions of its width and height."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    x, y = ([box["x"] + f[0] * box["width"], box["y"] + f[1] * box["height"]] for f in (start, end))
    page.mouse.move(*x)
    page.mouse.down()
    page.mouse.move(*y, steps=8)
    page.mouse.up()
