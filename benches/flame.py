"""Where the CPU went: stacks of `perf script`, as text and as a flame graph. No more than the standard library."""

import collections
import html
import re
import subprocess


def folded(perf_data):
    """{(thread, outermost frame, …, innermost): samples}"""
    said = subprocess.run(["perf", "script", "-i", str(perf_data), "--no-inline", "-F", "comm,ip,sym"], text=True,
                          errors="replace", capture_output=True).stdout
    stacks = collections.Counter()
    for block in said.split("\n\n"):
        lines = block.strip("\n").split("\n")
        if len(lines) < 2:
            continue
        frames = [line.split(None, 1)[1].strip() if len(line.split(None, 1)) > 1 else "?" for line in lines[1:]]
        frames = [short(f) for f in reversed(frames) if f != "[unknown]"]
        stacks[(lines[0].strip(), *frames)] += 1
    return stacks


def short(name):
    """Without the hash of the symbol and long type arguments."""
    name = re.sub(r"::h[0-9a-f]{16}$", "", name)
    return name if len(name) <= 160 else name[:157] + "…"


def self_time(stacks, most=25):
    """[(share, function)]"""
    all_of = sum(stacks.values()) or 1
    own = collections.Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
    return [(count / all_of, name) for name, count in own.most_common(most)]


def inclusive(stacks, groups):
    """{group: share}; a stack counts for the first group of which the pattern is found in any of its frames, so that
    the shares add up to 1 with what is in none."""
    all_of = sum(stacks.values()) or 1
    found = collections.Counter()
    for stack, count in stacks.items():
        text = "\n".join(stack)
        found[next((group for group, pattern in groups if re.search(pattern, text)), "(other)")] += count
    return {group: count / all_of for group, count in found.most_common()}


def svg(stacks, title, width=1600, row=16):
    """A flame graph: a frame is as wide as its share, callees above callers. A title tells each frame's figures."""
    root = {}
    for stack, count in stacks.items():
        node = root
        for frame in stack:
            entry = node.setdefault(frame, [0, {}])
            entry[0] += count
            node = entry[1]
    all_of = sum(stacks.values()) or 1
    boxes, deepest = [], 0

    def lay(node, x, depth):
        nonlocal deepest
        for name, (count, below) in sorted(node.items()):
            share = count / all_of
            if share * width >= 0.5:
                deepest = max(deepest, depth)
                boxes.append((x, depth, share, name))
                lay(below, x, depth + 1)
            x += share

    lay(root, 0.0, 0)
    height = (deepest + 3) * row
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="monospace" '
             f'font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
             f'<text x="4" y="12">{html.escape(title)} ({all_of} samples)</text>']
    for x, depth, share, name in boxes:
        left, wide, top = x * width, share * width, height - (depth + 1) * row
        hue = sum(name.encode()) % 50
        shown = html.escape(name[:int(wide / 6.7)]) if wide > 20 else ""
        parts.append(f'<g><title>{html.escape(name)} {share:.2%}</title><rect x="{left:.1f}" y="{top}" '
                     f'width="{wide:.1f}" height="{row - 1}" fill="hsl({hue},80%,{65 + hue % 12}%)"/>'
                     f'<text x="{left + 2:.1f}" y="{top + 12}">{shown}</text></g>')
    return "\n".join(parts + ["</svg>\n"])
