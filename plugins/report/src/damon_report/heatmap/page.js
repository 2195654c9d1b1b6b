"use strict";
// An interactive heat map: the cells are part of the page, nothing is loaded.
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { columns, rows } = data;
  const $ = (id) => document.getElementById(id);

  // -- cells ------------------------------------------------------------------------

  async function unpack(text, array) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new array(await new Response(stream).arrayBuffer());
  }
  const frequency = await unpack(data.frequency, Uint8Array);
  const resident = await unpack(data.resident, Uint16Array);
  const touched = await unpack(data.touched, Uint16Array);
  // Cells hold square roots, so that small values don't become 0.
  const UNKNOWN = 255, MOST = 254, UNKNOWN_SHARE = 65535, MOST_SHARE = 65534;
  const shareOf = (cell) => (cell / MOST_SHARE) ** 2;
  const knownAt = (column, row) => resident[row * columns + column] !== UNKNOWN_SHARE;

  // -- layout -------------------------------------------------------------------------

  // Bands and names of groups, from the top; heights in units of the layout.
  const items = [];
  const heading = 0.04 * data.groups.flatMap((group) => group.bands).reduce((sum, band) => sum + band.height, 0);
  let below = 0, row = 0;
  const rowBytes = new Float64Array(rows), bandOfRow = [];
  for (const group of data.groups) {
    if (group.name) {
      below += items.length ? 1.4 * heading : heading;
      items.push({ name: group.name, top: below - heading, bottom: below });
    }
    for (const band of group.bands) {
      below += band.folded ? 5 : 1;
      const item = { band, top: below, bottom: below + band.height, row, rows: band.rows, group: group.name };
      for (let i = 0; i < band.rows; i++) {
        bandOfRow.push(item);
        rowBytes[row + i] = band.borders[band.rows - i] - band.borders[band.rows - i - 1];
      }
      items.push(item);
      below += band.height;
      row += band.rows;
    }
  }
  const height = below;
  const spanUs = data.end_us - data.begin_us;

  const rowAt = (y) => {
    const item = items.find((each) => each.band && y >= each.top && y < each.bottom);
    return item ? item.row + Math.min(item.rows - 1, Math.floor(((y - item.top) / (item.bottom - item.top)) * item.rows)) : -1;
  };
  const topOfRow = (r) => {
    const item = bandOfRow[r];
    return item.top + ((r - item.row) / item.rows) * (item.bottom - item.top);
  };
  const bottomOfRow = (r) => {
    const item = bandOfRow[r];
    return item.top + ((r - item.row + 1) / item.rows) * (item.bottom - item.top);
  };
  // Return the ranges of a band's addresses that are in a row.
  function partsOf(r) {
    const { band, row: first, rows: count } = bandOfRow[r];
    const fromBottom = count - 1 - (r - first);
    const low = band.borders[fromBottom], high = band.borders[fromBottom + 1];
    const found = [];
    let position = 0;
    for (const [start, end, target, name] of band.parts) {
      const size = end - start;
      const from = Math.max(low, position), to = Math.min(high, position + size);
      if (from < to) found.push({ start: start + from - position, end: start + to - position, target: data.targets[target], name: data.names[name] });
      position += size;
    }
    return found;
  }

  // -- texts --------------------------------------------------------------------------

  const hex = (address) => address.toString(16).padStart(12, "0");
  function size(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (Math.round(bytes) >= 1024 && unit < 5) { bytes /= 1024; unit++; }
    return `${bytes.toFixed(unit && bytes < 99.95 ? 1 : 0)} ${units[unit]}`;
  }
  const percent = (share) => share === 0 ? "0 %" : share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
  function duration(us) {
    if (us < 1e3) return `${Math.round(us)} µs`;
    if (us < 1e6) return `${(us / 1e3).toPrecision(3)} ms`;
    const s = us / 1e6;
    if (s < 120) return `${s.toFixed(s < 10 ? 2 : 1)} s`;
    if (s < 7200) return `${(s / 60).toFixed(1)} min`;
    return s < 172800 ? `${(s / 3600).toFixed(2)} h` : `${(s / 86400).toFixed(2)} d`;
  }
  const clock = (us) => new Date((data.begin_us + us) / 1000).toISOString().slice(0, 23).replace("T", " ") + " UTC";
  const usOf = (column) => (column / columns) * spanUs;
  const base = (name) => name.startsWith("/") ? name.replace(/ \(deleted\)$/, "").replace(/.*\//, "") : name;
  function listed(names) {
    const some = [...new Set(names.filter((name) => name))];
    return some.length > 4 ? `${some.slice(0, 4).join(", ")} and ${some.length - 4} more` : some.join(", ");
  }
  function fill(id, pairs) {
    $(id).replaceChildren(...pairs.flatMap(([name, text]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = text;
      return [dt, dd];
    }));
  }

  // -- state --------------------------------------------------------------------------

  const all = () => ({ x0: 0, x1: columns, y0: 0, y1: height });
  let view = all();
  let cursor = null;      // {column, row}
  let selection = null;   // {c0, c1, r0, r1}, ends not included
  let dragging = null;
  let moving = false;
  const map = $("map"), chart = $("below");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const stops = data.colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  function colourAt(share) {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2), part = at - low;
    return stops[low].map((c, i) => Math.round(c + (stops[low + 1][i] - c) * part));
  }
  const lookup = Array.from({ length: MOST + 1 }, (_, code) => colourAt(code / MOST));

  function canvas2d(canvas) {
    const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    const width = Math.round(box.width * ratio), tall = Math.round(box.height * ratio);
    if (canvas.width !== width || canvas.height !== tall) { canvas.width = width; canvas.height = tall; }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    return { context, width: box.width, height: box.height, ratio };
  }

  // -- drawing ------------------------------------------------------------------------

  // Beside the map: names and sizes of bands, and addresses; where there is less room, less of them.
  let LEFT = 250, RIGHT = 112, names = 160, hasSizes = true;
  function makeRoom(width) {
    LEFT = width < 700 ? Math.max(84, Math.round(width * 0.34)) : 250;
    RIGHT = width < 700 ? 6 : 112;
    hasSizes = width >= 500;
    names = LEFT - (hasSizes ? 90 : 8);
  }

  let plot = { width: 1, height: 1 };
  const xOf = (column) => LEFT + ((column - view.x0) / (view.x1 - view.x0)) * plot.width;
  const yOf = (y) => ((y - view.y0) / (view.y1 - view.y0)) * plot.height;
  const columnAt = (x) => view.x0 + ((x - LEFT) / plot.width) * (view.x1 - view.x0);
  const layoutAt = (y) => view.y0 + (y / plot.height) * (view.y1 - view.y0);

  function drawCells(context, ratio) {
    const width = Math.max(1, Math.round(plot.width * ratio)), tall = Math.max(1, Math.round(plot.height * ratio));
    const picture = new ImageData(width, tall), pixels = new Uint32Array(picture.data.buffer);
    const word = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    const words = Uint32Array.from(lookup, word);
    const [nr, ng, nb] = [1, 3, 5].map((i) => parseInt(css("--not-seen").slice(i, i + 2), 16));
    const notSeen = word([nr, ng, nb]);
    const firsts = new Int32Array(width), lasts = new Int32Array(width);
    const perPixel = (view.x1 - view.x0) / width;
    for (let x = 0; x < width; x++) {
      firsts[x] = Math.min(columns - 1, Math.floor(view.x0 + x * perPixel));
      lasts[x] = Math.max(firsts[x] + 1, Math.min(columns, Math.round(view.x0 + (x + 1) * perPixel)));
    }
    for (const item of items) {
      if (!item.band || item.bottom <= view.y0 || item.top >= view.y1) continue;
      const top = yOf(item.top) * ratio, bottom = Math.max(yOf(item.bottom) * ratio, top + 1);
      const perRow = item.rows / (bottom - top);
      for (let y = Math.max(0, Math.round(top)); y < Math.min(tall, Math.max(Math.round(bottom), Math.round(top) + 1)); y++) {
        const r0 = Math.max(0, Math.min(item.rows - 1, Math.floor((y - top) * perRow)));
        const r1 = Math.max(r0 + 1, Math.min(item.rows, Math.round((y + 1 - top) * perRow)));
        for (let x = 0; x < width; x++) {
          let sum = 0, count = 0;
          for (let r = r0; r < r1; r++) {
            const line = (item.row + r) * columns;
            for (let c = firsts[x]; c < lasts[x]; c++) {
              const cell = frequency[line + c];
              if (cell !== UNKNOWN) { sum += cell * cell; count++; }
            }
          }
          // Rarely accessed memory must not look like memory that was never accessed.
          pixels[y * width + x] = count ? words[sum ? Math.max(1, Math.round(Math.sqrt(sum / count))) : 0] : notSeen;
        }
      }
    }
    context.putImageData(picture, Math.round(LEFT * ratio), 0);
  }

  function short(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let keep = text.length;
    while (keep > 1 && context.measureText(text.slice(0, Math.ceil(keep / 2)) + "…" + text.slice(-Math.floor(keep / 2))).width > width) keep--;
    return text.slice(0, Math.ceil(keep / 2)) + "…" + text.slice(-Math.floor(keep / 2));
  }

  function drawLabels(context) {
    const text = css("--text"), faint = css("--faint");
    context.textBaseline = "middle";
    let lastName = -Infinity, lastAddress = -Infinity;
    for (const item of items) {
      const top = Math.max(yOf(item.top), 0), bottom = Math.min(yOf(item.bottom), plot.height);
      if (bottom <= top) continue;
      const middle = (top + bottom) / 2;
      if (!item.band) {
        if (bottom - top < 9) continue;
        context.textAlign = "left";
        context.fillStyle = text;
        context.font = "bold 12px system-ui, 'DejaVu Sans', sans-serif";
        context.fillText(short(context, item.name, plot.width), LEFT, middle);
        context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
        continue;
      }
      if (middle - lastName < 13) continue;
      lastName = middle;
      // Of a band at the edge, too, the name is whole.
      const nameAt = Math.min(Math.max(middle, 7), plot.height - 7);
      const bytes = size(item.band.resident_bytes);
      context.textAlign = "left";
      context.fillStyle = item.band.rest ? faint : text;
      context.fillText(short(context, base(item.band.name), names), 0, nameAt);
      context.textAlign = "right";
      context.fillStyle = faint;
      if (hasSizes) context.fillText(bytes, LEFT - 8, nameAt);
      if (RIGHT < 112 || item.band.parts.length > 1 || bottom - top < 11) continue;
      context.textAlign = "left";
      context.font = "11px 'DejaVu Sans Mono', monospace";
      // The addresses at the edges of the visible part.
      const low = partsOf(rowAt(Math.min(layoutAt(bottom), item.bottom) - 1e-6))[0].start;
      const high = partsOf(rowAt(Math.max(layoutAt(top), item.top) + 1e-6)).at(-1).end;
      if (item.band.folded && bottom - top > 26 && top - lastAddress > 5) context.fillText(hex(high), plot.width + LEFT + 6, top + 7);
      context.fillText(hex(low), plot.width + LEFT + 6, bottom - 6);
      lastAddress = bottom;
      context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    }
  }

  function drawMarks(context) {
    if (selection) {
      const x = xOf(selection.c0), y = yOf(topOfRow(selection.r0));
      const wide = xOf(selection.c1) - x, tall = yOf(bottomOfRow(selection.r1 - 1)) - y;
      context.save();
      context.beginPath();
      context.rect(LEFT, 0, plot.width, plot.height);
      context.clip();
      context.strokeStyle = "#ffffff";
      context.lineWidth = 3.5;
      context.strokeRect(x, y, wide, tall);
      context.strokeStyle = css("--mark");
      context.lineWidth = 1.5;
      context.strokeRect(x, y, wide, tall);
      context.restore();
    }
    if (cursor) {
      const x = xOf(cursor.column + 0.5), y = yOf((topOfRow(cursor.row) + bottomOfRow(cursor.row)) / 2);
      if (x < LEFT || x > LEFT + plot.width || y < 0 || y > plot.height) return;
      context.strokeStyle = "rgba(255,255,255,0.75)";
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, Math.max(0, y - 9)); context.lineTo(x, y + 9);
      context.moveTo(Math.max(LEFT, x - 9), y); context.lineTo(x + 9, y);
      context.stroke();
    }
  }

  function workingSet(r0, r1) {
    const sizes = new Float64Array(columns);
    for (let c = 0; c < columns; c++) {
      let sum = 0, known = false;
      for (let r = r0; r < r1; r++) {
        if (!knownAt(c, r)) continue;
        known = true;
        sum += shareOf(touched[r * columns + c]) * rowBytes[r];
      }
      sizes[c] = known ? sum : NaN;
    }
    return sizes;
  }
  const whole = workingSet(0, rows);
  let shownSizes = whole;

  function ticks(fromUs, toUs, most) {
    const second = 1e6, steps = [];
    for (const unit of [1, 10, 100, 1e3, 1e4, 1e5]) steps.push(unit, 2 * unit, 5 * unit);
    for (const unit of [1, 2, 5, 10, 15, 30]) steps.push(unit * second);
    for (const unit of [1, 2, 5, 10, 15, 30]) steps.push(unit * 60 * second);
    for (const unit of [1, 2, 3, 6, 12, 24, 48, 168, 336, 672]) steps.push(unit * 3600 * second);
    const step = steps.find((each) => (toUs - fromUs) / each < most) ?? steps.at(-1);
    const found = [];
    for (let at = Math.ceil(fromUs / step) * step; at <= toUs; at += step) found.push([at, sinceStart(at, step)]);
    return found;
  }
  function sinceStart(us, step) {
    if (step < 1e6) return us < 1e6 && us > 0 ? `${+(us / 1e3).toFixed(3)}ms` : `${+(us / 1e6).toFixed(6)}s`;
    const s = Math.round(us / 1e6);
    if (s === 0 || (s < 120 && step < 6e7)) return `${s}s`;
    return [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "m"], [s % 60, "s"]]
      .filter(([number]) => number).map((each) => each.join("")).join("");
  }

  function roundUp(bytes) {
    let unit = 1;
    while (bytes / unit >= 1000) unit *= 1024;
    for (const power of [1, 10, 100]) for (const number of [1, 2, 3, 4, 6, 8]) if (bytes <= number * power * unit) return number * power * unit;
    return 1024 * unit;
  }

  function drawBelow() {
    const { context, height: tall } = canvas2d(chart);
    const bottom = tall - 34, faint = css("--faint"), line = css("--line");
    let most = 1;
    for (let c = Math.floor(view.x0); c < Math.ceil(view.x1); c++) if (shownSizes[c] > most) most = shownSizes[c];
    most = roundUp(most * 1.02);
    const y = (bytes) => 8 + (1 - bytes / most) * (bottom - 8);
    context.textBaseline = "middle";
    context.fillStyle = css("--text");
    context.textAlign = "left";
    const title = data.words.working_set[0].toUpperCase() + data.words.working_set.slice(1);
    const lines = selection ? [title, "in the selected rows"] : [title];
    // Beside the sizes of the axis where both have room, otherwise over the curve.
    const at = hasSizes ? 0 : LEFT + 6, first = hasSizes ? (8 + bottom) / 2 - 8 * (lines.length - 1) : 12;
    const room = hasSizes ? names : plot.width - 6;
    const writeTitle = () => lines.forEach((text, number) => context.fillText(short(context, text, room), at, first + 16 * number));
    if (hasSizes) writeTitle();
    context.textAlign = "right";
    context.fillStyle = faint;
    for (const part of [0, 0.5, 1]) {
      context.fillText(part ? size(most * part).replace(".0 ", " ") : "0", LEFT - 8, y(most * part));
      context.strokeStyle = css("--edge");
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(LEFT, y(most * part)); context.lineTo(LEFT + plot.width, y(most * part));
      context.stroke();
    }
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, plot.width, bottom + 1);
    context.clip();
    if (selection) {
      context.globalAlpha = 0.15;
      context.fillStyle = css("--mark");
      context.fillRect(xOf(selection.c0), 0, xOf(selection.c1) - xOf(selection.c0), bottom);
      context.globalAlpha = 1;
    }
    context.strokeStyle = line;
    context.fillStyle = line;
    context.lineWidth = 1.4;
    for (let c = Math.floor(view.x0); c < Math.ceil(view.x1); c++) {
      if (Number.isNaN(shownSizes[c])) continue;
      const x = xOf(c), next = xOf(c + 1), top = y(shownSizes[c]);
      context.globalAlpha = 0.25;
      context.fillRect(x, top, next - x, bottom - top);
      context.globalAlpha = 1;
      context.beginPath();
      if (c > 0 && !Number.isNaN(shownSizes[c - 1])) context.moveTo(x, y(shownSizes[c - 1])); else context.moveTo(x, top);
      context.lineTo(x, top);
      context.lineTo(next, top);
      context.stroke();
    }
    context.restore();
    context.fillStyle = css("--text");
    if (!hasSizes) {
      context.textAlign = "left";
      writeTitle();
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const [us, label] of ticks(usOf(view.x0), usOf(view.x1), Math.max(2, plot.width / 80))) {
      const x = xOf((us / spanUs) * columns);
      context.fillRect(x, bottom, 1, 4);
      context.fillText(label, x, bottom + 6);
    }
    context.fillStyle = faint;
    context.fillText("time since the start", LEFT + plot.width / 2, bottom + 20);
  }

  function drawScale() {
    const { context, width } = canvas2d($("scale"));
    const left = 14, wide = width - 2 * left;
    for (let x = 0; x < wide; x++) {
      context.fillStyle = `rgb(${colourAt(x / wide).join(",")})`;
      context.fillRect(left + x, 0, 1.5, 12);
    }
    context.fillStyle = css("--text");
    context.textAlign = "center";
    context.textBaseline = "top";
    context.font = "10px system-ui, 'DejaVu Sans', sans-serif";
    for (const share of [0, 0.01, 0.1, 0.25, 0.5, 1]) context.fillText(`${share * 100}%`, left + Math.sqrt(share) * wide, 16);
  }

  function draw() {
    const { context, width, height: tall, ratio } = canvas2d(map);
    makeRoom(width);
    plot = { width: Math.max(width - LEFT - RIGHT, 1), height: tall };
    drawCells(context, ratio);
    drawLabels(context);
    drawMarks(context);
    drawBelow();
    drawScale();
    const shownAll = view.x0 === 0 && view.x1 === columns && view.y0 === 0 && view.y1 === height;
    $("view").textContent = shownAll ? `all: ${duration(spanUs)}, ${size(rowBytes.reduce((a, b) => a + b, 0))}`
      : `${duration(usOf(view.x0))} to ${duration(usOf(view.x1))}, ${Math.round((100 * (view.y1 - view.y0)) / height)} % of the height`;
  }
  let due = false;
  function redraw() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  }

  // -- details ------------------------------------------------------------------------

  function showCursor() {
    if (!cursor) { fill("hover", [["", "point at a cell, or move there with the arrow keys"]]); return; }
    const { column, row: r } = cursor, at = r * columns + column, item = bandOfRow[r];
    const parts = partsOf(r), one = parts.length === 1;
    const known = knownAt(column, r), code = frequency[at];
    fill("hover", [
      ["time", `${+(usOf(column) / 1e6).toFixed(3)} s since the start, for ${duration(usOf(1))}; ${clock(usOf(column))}`],
      ["addresses", one ? `${hex(parts[0].start)}-${hex(parts[0].end)} (${size(rowBytes[r])})` : `${parts.length} ranges (${size(rowBytes[r])})`],
      ["mapping", listed(parts.map((part) => part.name)) || "without a name"],
      ["target", listed(parts.map((part) => part.target)) || item.group],
      [data.words.accessed, code === UNKNOWN ? "no data: not mapped, or not recorded" : `in ${percent((code / MOST) ** 2)} of the checks`],
      ["bytes", known ? `${size(shareOf(resident[at]) * rowBytes[r])} in memory, ${size(shareOf(touched[at]) * rowBytes[r])} of it ${data.words.accessed} in an aggregation` : "not recorded"],
    ]);
  }

  const quote = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`;
  function command(parts) {
    const from = usOf(selection.c0), to = usOf(selection.c1), offset = data.begin_us - data.record_begin_us;
    const seconds = (us) => `${+((us + offset) / 1e6).toFixed(6)}s`;
    const words = ["damon", "report", "heatmap", ...data.records, "--from", seconds(from), "--to", seconds(to)];
    const targets = [...new Set(parts.map((part) => part.target))];
    if (targets.length === 1) {
      words.push("--target", targets[0]);
      words.push("--address", `${Math.min(...parts.map((part) => part.start)).toString(16)}-${Math.max(...parts.map((part) => part.end)).toString(16)}`);
    }
    return words.map(quote).join(" ");
  }

  function showSelection() {
    $("selection-tools").hidden = !selection;
    shownSizes = selection ? workingSet(selection.r0, selection.r1) : whole;
    if (!selection) { fill("selection", [["", "drag over the map to select a time and addresses"]]); return; }
    const { c0, c1, r0, r1 } = selection;
    let bytes = 0, inMemory = 0, idle = 0, heat = 0, weight = 0;
    const parts = [];
    for (let r = r0; r < r1; r++) {
      bytes += rowBytes[r];
      parts.push(...partsOf(r));
      let sum = 0, count = 0, any = false;
      for (let c = c0; c < c1; c++) {
        const at = r * columns + c;
        if (resident[at] !== UNKNOWN_SHARE) {
          sum += shareOf(resident[at]);
          count++;
          any = any || touched[at] > 0;
        }
        if (frequency[at] !== UNKNOWN) { heat += (frequency[at] / MOST) ** 2 * rowBytes[r]; weight += rowBytes[r]; }
      }
      const mean = count ? (sum / count) * rowBytes[r] : 0;
      inMemory += mean;
      if (!any) idle += mean;
    }
    const sizes = Array.from(shownSizes.slice(c0, c1)).filter((each) => !Number.isNaN(each));
    const mean = sizes.length ? sizes.reduce((a, b) => a + b, 0) / sizes.length : 0;
    const starts = parts.map((part) => part.start), ends = parts.map((part) => part.end);
    const low = starts.reduce((a, b) => Math.min(a, b)), high = ends.reduce((a, b) => Math.max(a, b));
    const targets = listed(parts.map((part) => part.target));
    fill("selection", [
      ["time", `${duration(usOf(c0))} to ${duration(usOf(c1))} (${duration(usOf(c1 - c0))})`],
      ["addresses", `${hex(low)}-${hex(high)}, ${size(bytes)} of them mapped`],
      ["mappings", listed(parts.map((part) => base(part.name))) || "without names"],
      ["targets", targets],
      [data.words.working_set, `${size(mean)} on average, ${size(sizes.reduce((a, b) => Math.max(a, b), 0))} at most`],
      [`${data.words.idle} all the time`, `${size(idle)} of ${size(inMemory)} in memory`],
      [data.words.accessed, weight ? `in ${percent(heat / weight)} of the checks, on average` : "no data"],
    ]);
    $("command").textContent = command(parts);
  }

  // -- navigation ---------------------------------------------------------------------

  const clamp = (low, high, most, least) => {
    const wide = Math.min(Math.max(high - low, least), most);
    const from = Math.min(Math.max(low + (high - low - wide) / 2, 0), most - wide);
    return [from, from + wide];
  };
  function setView(next) {
    [view.x0, view.x1] = clamp(next.x0, next.x1, columns, Math.min(8, columns));
    [view.y0, view.y1] = clamp(next.y0, next.y1, height, Math.min(12, height));
    redraw();
  }
  function zoom(factor, x, y, time = true, addresses = true) {
    const next = { ...view };
    if (time) { next.x0 = x - (x - view.x0) * factor; next.x1 = x + (view.x1 - x) * factor; }
    if (addresses) { next.y0 = y - (y - view.y0) * factor; next.y1 = y + (view.y1 - y) * factor; }
    setView(next);
  }
  const middle = () => cursor ? [cursor.column + 0.5, (topOfRow(cursor.row) + bottomOfRow(cursor.row)) / 2] : [(view.x0 + view.x1) / 2, (view.y0 + view.y1) / 2];
  function show(rectangle) {
    setView({ x0: rectangle.c0, x1: rectangle.c1, y0: topOfRow(rectangle.r0), y1: bottomOfRow(rectangle.r1 - 1) });
  }
  function select(rectangle) { selection = rectangle; showSelection(); redraw(); }
  function nearestRow(y) {
    const found = rowAt(y);
    if (found >= 0) return found;
    let best = 0, distance = Infinity;
    for (const item of items) if (item.band) for (const [edge, r] of [[item.top, item.row], [item.bottom, item.row + item.rows - 1]]) {
      if (Math.abs(edge - y) < distance) { distance = Math.abs(edge - y); best = r; }
    }
    return best;
  }
  function place(event) {
    const box = map.getBoundingClientRect();
    const x = columnAt(event.clientX - box.left), y = layoutAt(event.clientY - box.top);
    return { x, y, column: Math.min(columns - 1, Math.max(0, Math.floor(x))), row: nearestRow(y), inside: x >= view.x0 && x < view.x1 && rowAt(y) >= 0 };
  }
  const between = (a, b) => ({
    c0: Math.min(a.column, b.column), c1: Math.max(a.column, b.column) + 1,
    r0: Math.min(a.row, b.row), r1: Math.max(a.row, b.row) + 1,
  });

  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = place(event), delta = event.deltaY || event.deltaX;
    zoom(Math.exp(Math.max(-200, Math.min(200, delta)) * 0.002), x, y, !event.altKey, !event.ctrlKey);
  }, { passive: false });
  map.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    map.setPointerCapture(event.pointerId);
    dragging = { from: place(event), view: { ...view }, x: event.clientX, y: event.clientY, zooms: event.shiftKey, moved: false };
  });
  map.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (dragging) {
      dragging.moved = dragging.moved || Math.abs(event.clientX - dragging.x) + Math.abs(event.clientY - dragging.y) > 3;
      if (dragging.moved && moving) {
        const dx = ((event.clientX - dragging.x) / plot.width) * (dragging.view.x1 - dragging.view.x0);
        const dy = ((event.clientY - dragging.y) / plot.height) * (dragging.view.y1 - dragging.view.y0);
        const wide = dragging.view.x1 - dragging.view.x0, tall = dragging.view.y1 - dragging.view.y0;
        const x0 = Math.min(Math.max(dragging.view.x0 - dx, 0), columns - wide), y0 = Math.min(Math.max(dragging.view.y0 - dy, 0), height - tall);
        setView({ x0, x1: x0 + wide, y0, y1: y0 + tall });
        return;
      }
      if (dragging.moved) select(between(dragging.from, at));
    }
    cursor = at.inside ? { column: at.column, row: at.row } : null;
    showCursor();
    redraw();
  });
  map.addEventListener("pointerup", (event) => {
    if (!dragging) return;
    const done = dragging;
    dragging = null;
    if (moving) return;
    if (!done.moved) select(null);
    else if (done.zooms) { show(between(done.from, place(event))); select(null); }
  });
  map.addEventListener("pointerleave", () => { if (!dragging) { cursor = null; showCursor(); redraw(); } });
  map.addEventListener("dblclick", () => { if (selection) show(selection); });

  function step(columnsBy, rowsBy, extend) {
    const before = cursor ?? { column: Math.floor((view.x0 + view.x1) / 2), row: nearestRow((view.y0 + view.y1) / 2) };
    // A step is a pixel or a cell, whichever is larger, and ten of them while everything is shown.
    const wide = Math.max(1, Math.round((view.x1 - view.x0) / 100)), tall = Math.max(1, Math.round((rows * (view.y1 - view.y0)) / height / 100));
    cursor = cursor ? {
      column: Math.min(columns - 1, Math.max(0, before.column + columnsBy * wide)),
      row: Math.min(rows - 1, Math.max(0, before.row + rowsBy * tall)),
    } : before;
    if (extend) {
      step.anchor = step.anchor ?? before;
      select(between(step.anchor, cursor));
    } else step.anchor = null;
    showCursor();
    redraw();
  }
  const keys = {
    "+": () => zoom(0.5, ...middle()), "=": () => zoom(0.5, ...middle()), "-": () => zoom(2, ...middle()),
    "0": () => setView(all()), "Enter": () => selection && show(selection),
    "Escape": () => { step.anchor = null; select(null); },
    "m": () => $("move").click(), "d": () => $("theme").click(),
  };
  map.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in ways && !event.altKey && !event.ctrlKey && !event.metaKey) step(...ways[event.key], event.shiftKey);
    else if (event.key in keys && !event.ctrlKey && !event.metaKey) keys[event.key]();
    else return;
    event.preventDefault();
  });

  $("zoom-in").onclick = () => zoom(0.5, ...middle());
  $("zoom-out").onclick = () => zoom(2, ...middle());
  $("all").onclick = () => setView(all());
  $("zoom-to").onclick = () => selection && show(selection);
  $("clear").onclick = () => select(null);
  $("move").onclick = () => {
    moving = !moving;
    map.classList.toggle("moving", moving);
    $("move").setAttribute("aria-pressed", String(moving));
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  $("theme").onclick = () => {
    const root = document.documentElement, now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    redraw();
  };
  dark.addEventListener("change", redraw);
  map.setAttribute("aria-label", `Heat map of ${data.title}: time across, addresses up. ${data.lines.join(". ")}.`);
  document.querySelector("main").hidden = false;
  // At once, before anything is painted: a frame with the old pixels in the new size is distorted.
  new ResizeObserver(draw).observe($("plot"));
  showCursor();
  showSelection();
  draw();
})();
