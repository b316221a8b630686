curl -N "$VIVARIUM_URL/v1/agent/stream?query=Summarize%20RAG%20advances&mode=research" \
  -H "Authorization: Bearer $VIVARIUM_KEY"
