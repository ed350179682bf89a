FROM denoland/deno:2.9.6

# Checkpoints and state; owned by the user that runs.
RUN mkdir -p /app /data && chown deno:deno /app /data
USER deno
WORKDIR /app

# Dependencies change less often than the code: a layer of their own, exactly as locked.
COPY --chown=deno:deno deno.json deno.lock ./
RUN deno install --frozen

COPY --chown=deno:deno . .
RUN deno cache --frozen main.ts

ENV TAILRACE_DATA=/data TAILRACE_HOST=0.0.0.0 NO_COLOR=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=12 \
  CMD ["deno", "eval", "const answer = await fetch('http://127.0.0.1:8000/readyz'); Deno.exit(answer.ok ? 0 : 1)"]
CMD ["deno", "task", "run"]
