// Answers that are lines of JSON.

/**
 * The lines of an answer, as they arrive.
 * @param {Response} answer
 * @returns {AsyncGenerator<any>}
 */
export async function* readLines(answer) {
  if (answer.body === null) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line);
    }
  } finally {
    // Otherwise the search would keep its permit on the server. After the last message this does nothing.
    reader.cancel().catch(() => {});
  }
}
