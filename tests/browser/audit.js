// Measures the page as it is drawn now: what stands out sideways, and of every text its size and its contrast with what is behind it.
(() => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });

  // Any CSS colour as [red, green, blue, alpha].
  const colour = (text) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((value, at) => value * a + back[at] * (1 - a)).concat(1);
  const above = (element) => (element ? [...above(element.parentElement), element] : []);
  const behind = (element) =>
    above(element).reduce((back, each) => over(colour(getComputedStyle(each).backgroundColor), back), [255, 255, 255, 1]);

  // Relative luminance and contrast as WCAG 2.2 defines them.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const scale = (element) => (element.getScreenCTM ? element.getScreenCTM().a : 1);
  const drawn = (element, paint) => {
    const back = behind(element);
    const clear = above(element).reduce((left, each) => left * Number(getComputedStyle(each).opacity), 1);
    const [r, g, b, a] = colour(paint);
    return contrast(over([r, g, b, a * clear], back), back);
  };
  const scrolls = (element) => above(element).some((each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX));

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(node);
    const element = node.parentElement;
    if (!node.data.trim() || !range.getClientRects().length || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize) * scale(element);
    texts.push({
      text: node.data.trim().slice(0, 60),
      contrast: drawn(element, element instanceof SVGElement ? style.fill : style.color),
      size,
      large: size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700),
    });
  }
  const bars = [...document.querySelectorAll("svg rect")].map((each) => ({
    kind: each.getAttribute("class"),
    contrast: drawn(each, getComputedStyle(each).fill),
  }));
  const cut = [...document.querySelectorAll("svg text")]
    .filter((each) => {
      const [text, frame] = [each, each.ownerSVGElement].map((one) => one.getBoundingClientRect());
      return text.width && (text.left < frame.left - 0.5 || text.right > frame.right + 0.5);
    })
    .map((each) => each.textContent);
  const wide = [...document.body.querySelectorAll("*")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5 && !(each instanceof SVGElement) && !scrolls(each.parentElement))
    .map((each) => `${each.tagName} ${each.textContent.trim().slice(0, 40)}`);
  const silent = [...document.body.querySelectorAll("*")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && scrolls(each) && each.tabIndex < 0)
    .filter((each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX))
    .map((each) => each.tagName);
  return { overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth, wide, cut, silent, texts, bars };
})();
