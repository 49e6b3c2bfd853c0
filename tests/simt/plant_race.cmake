# Writes OUT: a copy of a product's kernel file with one planted race, the one called NAME. Fails when the text to change
# is not there exactly once, so that a kernel cannot be rewritten and quietly lose its test.
function(plant name source before after)
  if(NOT name STREQUAL NAME)
    return()
  endif()
  file(READ ${FOLDER}/${source} text)
  string(FIND "${text}" "${before}" first)
  string(FIND "${text}" "${before}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "plant_race: the text to change for '${name}' is not exactly once in ${source}:\n${before}")
  endif()
  string(REPLACE "${before}" "${after}" text "${text}")
  file(WRITE ${OUT} "${text}")
  set(planted TRUE PARENT_SCOPE)
endfunction()

plant(bytes_clearing count_bytes.cu
  [=[words[w] = 0;
  __syncthreads();]=]
  [=[words[w] = 0;]=])

plant(bytes_plain_increment count_bytes.cu
  [=[const unsigned before = atomicAdd(&words[cell / 2], 1u << shift) >> shift & 0xFFFFu;]=]
  [=[const unsigned before = words[cell / 2] >> shift & 0xFFFFu;
      words[cell / 2] += 1u << shift;]=])

plant(global_loading count_global.cu
  [=[: kDocumentBreak;
    __syncthreads();]=]
  [=[: kDocumentBreak;]=])

plant(global_next_tile count_global.cu
  [=[__syncthreads();  // the tile is read; the next one may replace it]=]
  [=[]=])

plant(tokens_flushing count_tokens.cu
  [=[  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < n_private]=]
  [=[  }
  for (std::uint32_t i = threadIdx.x; i < n_private]=])

if(NOT planted)
  message(FATAL_ERROR "plant_race: no race is called ${NAME}")
endif()
